"""Quantising whole files: what is copied, what is encoded, what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pyllama_rt.convert import lazy_tensor, plan_file, quantize_file
from pyllama_rt.errors import ConfigError, FormatError, NumericsError, UnsupportedError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter, ValueType
from pyllama_rt.quant import dequantize, quantize
from pyllama_rt.quant.guidance import guidance_for
from pyllama_rt.quant.importance import ImportanceMatrix, InputSquares

Arrays = dict[str, NDArray[np.float32]]


def arrays(seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    shapes = {
        "token_embd.weight": (48, 256),
        "blk.0.attn_norm.weight": (256,),
        "blk.0.attn_q.weight": (256, 256),
        "blk.0.attn_v.weight": (64, 256),
        "blk.0.ffn_down.weight": (256, 96),
        "output_norm.weight": (256,),
        "output.weight": (48, 256),
    }
    return {
        name: rng.standard_normal(shape, dtype=np.float32).astype(np.float16).astype(np.float32)
        for name, shape in shapes.items()
    }


def write(
    path: Path,
    tensors: Mapping[str, NDArray[np.float32]],
    kind: str = "f16",
    extra: Mapping[str, Any] | None = None,
    alignment: int = 32,
) -> Path:
    with GgufWriter(path, alignment=alignment) as writer:
        writer.add("general.architecture", "llama")
        writer.add("llama.block_count", 1)
        writer.add("general.file_type", 1)
        writer.add("llama.attention.head_count", 4)
        for key, value in (extra or {}).items():
            writer.add(key, value)
        for name, array in tensors.items():
            writer.declare(name, array.shape, "f32" if array.ndim == 1 else kind)
        for name, array in tensors.items():
            writer.write_tensor(name, quantize(array, "f32" if array.ndim == 1 else kind))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.gguf", arrays())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "out.gguf"


@pytest.mark.parametrize("type_name", ["q4_k_m", "Q8_0", "IQ4_NL", "bf16", "q2_k"])
@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_every_tensor_equals_its_own_encoding(
    kind: str, type_name: str, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy_tensor, "CHUNK_ELEMENTS", 1000)  # so that rows come in many chunks
    source = write(tmp_path / "in.gguf", arrays(), kind)
    plan = quantize_file(source, out, type_name)
    with GgufFile.open(source) as before, GgufFile.open(out) as after:
        assert list(after.tensors) == list(before.tensors)
        for planned in plan.tensors:
            old, new = before.tensors[planned.name], after.tensors[planned.name]
            assert (new.shape, new.type, new.n_bytes) == (old.shape, planned.type, planned.n_bytes)
            values = dequantize(before.tensor_data(old.name), old.type.name, old.shape)
            expected = quantize(values, new.type.name)
            assert bytes(after.tensor_data(new.name)) == expected.tobytes(), new.name
        assert after.get_int("general.file_type") == plan.mix.file_type


def test_types_follow_the_mix(source: Path, out: Path) -> None:
    quantize_file(source, out, "Q4_K")
    with GgufFile.open(out) as file:
        types = {name: info.type.name for name, info in file.tensors.items()}
        assert file.get_int("general.file_type") == 15
        assert file.get_int("general.quantization_version") == 2
    assert types == {
        "token_embd.weight": "q4_k",
        "blk.0.attn_norm.weight": "f32",
        "blk.0.attn_q.weight": "q4_k",
        "blk.0.attn_v.weight": "q6_k",
        "blk.0.ffn_down.weight": "q8_0",
        "output_norm.weight": "f32",
        "output.weight": "q6_k",
    }


def test_options_choose_types(source: Path, out: Path) -> None:
    quantize_file(source, out, "q4_k", pure=True, tensor_types=["attn_v=f16"])
    with GgufFile.open(out) as file:
        assert file.tensors["output.weight"].type.name == "q4_k"
        assert file.tensors["blk.0.ffn_down.weight"].type.name == "q5_0"
        assert file.tensors["blk.0.attn_v.weight"].type.name == "f16"


def importance_of(*names: str, n_mats: int = 1, seed: int = 3) -> ImportanceMatrix:
    rng = np.random.default_rng(seed)
    counts = np.ones(n_mats, np.float32)
    return ImportanceMatrix(
        {
            name: InputSquares(
                np.exp(rng.standard_normal((n_mats, 256))).astype(np.float32), counts
            )
            for name in names
        }
    )


def test_importance_guides_the_tensors_that_it_names(source: Path, out: Path) -> None:
    matrix = importance_of("blk.0.attn_q.weight")
    quantize_file(source, out, "q4_k_m", importance=matrix)
    with GgufFile.open(source) as before, GgufFile.open(out) as after:
        for name in ("blk.0.attn_q.weight", "blk.0.attn_v.weight"):
            old, new = before.tensors[name], after.tensors[name]
            values = dequantize(before.tensor_data(name), old.type.name, old.shape)
            known = guidance_for(matrix, name, old.shape)
            guided = quantize(values, new.type.name, guidance=known[0] if known else None)
            assert bytes(after.tensor_data(name)) == guided.tobytes()
            plain = quantize(values, new.type.name)
            assert (guided.tobytes() == plain.tobytes()) == (not known)


def test_each_matrix_of_a_stack_has_its_own_importance(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy_tensor, "CHUNK_ELEMENTS", 1000)
    name = "blk.0.ffn_up_exps.weight"
    stack = np.random.default_rng(0).standard_normal((3, 10, 256)).astype(np.float32)
    source = write(tmp_path / "in.gguf", {**arrays(), name: stack}, "f32")
    matrix = importance_of(name, n_mats=3)
    quantize_file(source, out, "q4_0", importance=matrix)
    with GgufFile.open(out) as file:
        found = bytes(file.tensor_data(name))
    known = guidance_for(matrix, name, stack.shape)
    parts = zip(stack, known, strict=True)
    assert found == b"".join(quantize(x, "q4_0", guidance=g).tobytes() for x, g in parts)


def test_importance_of_another_model_is_refused_and_nothing_written(
    source: Path, out: Path
) -> None:
    matrix = importance_of("blk.0.ffn_down.weight")  # whose rows have 96 columns
    with pytest.raises(ConfigError, match="belongs to another model"):
        quantize_file(source, out, "q4_0", importance=matrix)
    assert list(out.parent.iterdir()) == []


def test_the_file_does_not_depend_on_the_threads(source: Path, tmp_path: Path) -> None:
    files = []
    for n_threads in (1, 3, None):
        quantize_file(source, tmp_path / "x.gguf", "q5_k_m", n_threads=n_threads)
        files.append((tmp_path / "x.gguf").read_bytes())
    assert files[0] == files[1] == files[2]


def test_metadata_keep_their_exact_types(tmp_path: Path, out: Path) -> None:
    extra = {
        "a.i8": np.int8(-1),
        "a.u64": np.uint64(7),
        "a.f64": np.float64(0.1),
        "a.u8s": np.array([1, 2], np.uint8),
        "a.i64s": np.array([-1], np.int64),
        "a.bools": [True, False],
        "a.texts": ["", "中", "b"],
        "a.raw": b"\xff is not UTF-8",
        "general.quantization_version": np.uint8(1),
    }
    source = write(tmp_path / "in.gguf", arrays(), extra=extra, alignment=64)
    quantize_file(source, out, "q8_0")
    with GgufFile.open(source) as before, GgufFile.open(out) as after:
        assert after.alignment == 64
        changed = {"general.file_type", "general.quantization_version"}
        assert set(after.metadata) == set(before.metadata) | changed
        for key in set(before.metadata) - changed:
            assert after.value_type(key) is before.value_type(key), key
            assert after.element_type(key) is before.element_type(key), key
            assert after.metadata.raw(key) == before.metadata.raw(key), key
        assert after.value_type("general.quantization_version") is ValueType.UINT32


def split(path: Path, tensors: Arrays, n: int) -> list[Path]:
    names = list(tensors)
    paths = []
    for i in range(n):
        part = {name: tensors[name] for name in names[i::n]}
        keys = {
            "split.no": np.uint16(i),
            "split.count": np.uint16(n),
            "split.tensors.count": np.int32(len(names)),
        }
        paths.append(
            write(path.with_name(f"{path.stem}-{i + 1:05d}-of-{n:05d}.gguf"), part, extra=keys)
        )
    return paths


def test_split_models_become_one_file(tmp_path: Path, source: Path, out: Path) -> None:
    parts = split(tmp_path / "part.gguf", arrays(), 3)
    quantize_file(parts[1], out, "q4_0")
    quantize_file(source, tmp_path / "whole.gguf", "q4_0")
    with GgufFile.open(out) as a, GgufFile.open(tmp_path / "whole.gguf") as b:
        assert not [key for key in a.metadata if key.startswith("split.")]
        assert set(a.tensors) == set(b.tensors)
        for name in a.tensors:
            assert bytes(a.tensor_data(name)) == bytes(b.tensor_data(name))
    with pytest.raises(ConfigError, match="replace its own input"):
        quantize_file(parts[0], parts[2], "q4_0")


def test_its_own_input_is_refused(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    os.link(source, tmp_path / "hard.gguf")
    (tmp_path / "soft.gguf").symlink_to(source)
    (tmp_path / "sub").mkdir()
    outs = [source, tmp_path / "hard.gguf", tmp_path / "soft.gguf", tmp_path / "sub/../in.gguf"]
    for out in outs:
        with pytest.raises(ConfigError, match="replace its own input"):
            quantize_file(source, out, "q8_0")
    assert source.read_bytes() == before


def test_unknown_architectures_are_refused(tmp_path: Path, out: Path) -> None:
    with GgufWriter(tmp_path / "in.gguf") as writer:
        writer.add("general.architecture", "lama")
        writer.add("lama.block_count", 1)
        writer.declare("blk.0.ssm_conv1d.weight", (4, 32), "f16")
        writer.write_tensor("blk.0.ssm_conv1d.weight", bytes(256))
    with pytest.raises(UnsupportedError, match=r"in\.gguf: architecture 'lama'.* mean 'llama'"):
        quantize_file(tmp_path / "in.gguf", out, "q8_0")
    assert not out.exists()


def test_quantising_again_needs_the_option(source: Path, tmp_path: Path, out: Path) -> None:
    quantize_file(source, tmp_path / "q8.gguf", "q8_0")
    with pytest.raises(ConfigError, match=r"q8_0 already.*--allow-requantize"):
        quantize_file(tmp_path / "q8.gguf", out, "q4_0")
    with pytest.raises(ConfigError, match="--allow-requantize"):
        plan_file(tmp_path / "q8.gguf", "q4_0")
    assert not out.exists()
    quantize_file(tmp_path / "q8.gguf", out, "f16")
    with GgufFile.open(out) as file:
        assert file.tensors["output.weight"].type.name == "f16"
    quantize_file(tmp_path / "q8.gguf", out, "q8_0")
    assert out.read_bytes() == (tmp_path / "q8.gguf").read_bytes()
    quantize_file(tmp_path / "q8.gguf", out, "q4_0", allow_requantize=True)
    with GgufFile.open(tmp_path / "q8.gguf") as q8, GgufFile.open(out) as q4:
        name = "blk.0.attn_q.weight"
        values = dequantize(q8.tensor_data(name), "q8_0", q8.tensors[name].shape)
        assert bytes(q4.tensor_data(name)) == quantize(values, "q4_0").tobytes()


@pytest.mark.parametrize("name", ["blk.0.attn_v.weight", "output_norm.weight"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_not_finite_are_named(
    name: str, value: float, tmp_path: Path, out: Path
) -> None:
    tensors = arrays()
    with GgufWriter(tmp_path / "in.gguf") as writer:
        writer.add("general.architecture", "llama")
        writer.add("llama.block_count", 1)
        tensors[name].flat[-1] = value
        for key, array in tensors.items():
            writer.declare(key, array.shape, "f32")
        for key, array in tensors.items():
            writer.write_tensor(key, array)
    out.write_bytes(b"old")
    with pytest.raises(NumericsError, match=name):
        quantize_file(tmp_path / "in.gguf", out, "q4_0")
    assert out.read_bytes() == b"old"
    assert len(list(out.parent.iterdir())) == 1


def test_broken_scales_are_named_when_quantising_again(tmp_path: Path, out: Path) -> None:
    path = write(tmp_path / "in.gguf", arrays(), "q8_0")
    with GgufFile.open(path) as file:
        offset = file.tensors["blk.0.attn_q.weight"].offset
    raw = bytearray(path.read_bytes())
    raw[offset : offset + 2] = b"\xff\xff"  # the first scale becomes NaN
    path.write_bytes(raw)
    for type_name in ("q8_0", "q4_0"):
        with pytest.raises(NumericsError, match=r"blk\.0\.attn_q\.weight"):
            quantize_file(path, out, type_name, allow_requantize=True)
    assert not list(out.parent.iterdir())


def test_integer_tensors_are_carried_along(tmp_path: Path, out: Path) -> None:
    table = np.arange(12, dtype=np.int32).reshape(3, 4)
    with GgufWriter(tmp_path / "in.gguf") as writer:
        writer.add("general.architecture", "llama")
        writer.add("llama.block_count", 1)
        writer.declare("table.weight", table.shape, "i32")
        writer.write_tensor("table.weight", table)
    quantize_file(tmp_path / "in.gguf", out, "q4_0")
    with GgufFile.open(out) as file:
        assert bytes(file.tensor_data("table.weight")) == table.tobytes()


def test_an_interrupted_run_leaves_what_was_there(source: Path, out: Path) -> None:
    def stop(name: str, n_done: int, n_total: int) -> None:
        if n_done > n_total // 2:
            raise KeyboardInterrupt(name)

    out.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        quantize_file(source, out, "q8_0", progress=stop)
    assert out.read_bytes() == b"old"
    assert len(list(out.parent.iterdir())) == 1


def test_bad_arguments_and_files_are_refused(source: Path, tmp_path: Path, out: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'q4_0'"):
        quantize_file(source, out, "q4_00")
    with pytest.raises(ConfigError, match="n_threads"):
        quantize_file(source, out, "q4_0", n_threads=0)
    with pytest.raises(ConfigError, match="cannot open"):
        quantize_file(tmp_path / "absent.gguf", out, "q4_0")
    with pytest.raises(ConfigError, match="does not exist"):
        quantize_file(source, tmp_path / "no" / "x.gguf", "q4_0")
    with pytest.raises(FormatError, match="a directory"):
        quantize_file(tmp_path, out, "q4_0")
    with GgufWriter(tmp_path / "empty.gguf") as writer:
        writer.add("general.architecture", "llama")
    with pytest.raises(ConfigError, match="no tensors"):
        quantize_file(tmp_path / "empty.gguf", out, "q4_0")
    nameless = write(tmp_path / "n.gguf", {"output.weight": np.ones((2, 32), np.float32)})
    nameless.write_bytes(nameless.read_bytes().replace(b"llama.block_count", b"llama.block_kount"))
    with pytest.raises(FormatError, match=r"n\.gguf.*llama\.block_count"):
        quantize_file(nameless, out, "q4_0")
    assert not out.exists()


def test_a_plan_is_what_gets_written(source: Path, out: Path) -> None:
    plan = plan_file(source, "q3_k_m")
    assert quantize_file(source, out, "q3_k_m") == plan
    with GgufFile.open(out) as file:
        assert sum(info.n_bytes for info in file.tensors.values()) == plan.n_bytes


# Sizes that the Chinese-LLaMA-2 projects report for 55,296 pieces, in GiB.
NETWORKS = {
    "7b": {"num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 11008},
    "13b": {"num_hidden_layers": 40, "hidden_size": 5120, "intermediate_size": 13824},
}
SIZES = {
    "7b": {"Q3_K_M": 3.17, "Q4_K_M": 3.92, "Q5_K_M": 4.59, "Q6_K": 5.30, "F16": 12.91},
    "13b": {"Q3_K_M": 6.02, "Q4_K_M": 7.48, "Q5_K_M": 8.76, "Q6_K": 10.13, "F16": 24.69},
}


@pytest.mark.parametrize("network", SIZES)
def test_sizes_are_known_from_the_config_alone(network: str, tmp_path: Path) -> None:
    heads = NETWORKS[network]["hidden_size"] // 128
    values = {
        "architectures": ["LlamaForCausalLM"],
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "vocab_size": 55296,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        **NETWORKS[network],
    }
    (tmp_path / "config.json").write_text(json.dumps(values))
    for type_name, size in SIZES[network].items():
        plan = plan_file(tmp_path / "config.json", type_name)
        assert plan.n_bytes / 2**30 == pytest.approx(size, rel=0.01), type_name
    with pytest.raises(ConfigError, match="no such file"):
        plan_file(tmp_path / "absent.json", "q4_0")
