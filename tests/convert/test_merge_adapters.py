"""Adapters merged into tiny models, against the same sums in NumPy."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import PREFIX, Peft, adapter_config, add_products, pairs, write_gguf_adapter
from checkpoints import N_PIECES, Arrays, HuggingFace, config, sentencepiece, weights
from numpy.typing import NDArray
from torch_files import write_torch

from pyllama_rt.convert import convert_checkpoint, huggingface_folder, merge_adapters, quantize_file
from pyllama_rt.convert.transforms import interleave
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.formats.safetensors import SafetensorsFile
from pyllama_rt.quant import dequantize
from pyllama_rt.tokenizer.model_proto import NORMAL, write_model_proto

TOLERANCE = 1e-6
SCALE = 10 / 4


def read_folder(folder: Path) -> Arrays:
    """Every tensor of all safetensors files in a folder."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        file = SafetensorsFile(path)
        for name, entry in file.tensors.items():
            kind = {"F32": "f32", "F16": "f16", "BF16": "bf16"}[entry.dtype]
            found[name] = dequantize(bytes(file.data(name)), kind, entry.shape)
        file.close()
    return found


def read_gguf(path: Path) -> Arrays:
    with GgufFile.open(path) as file:
        return {
            name: dequantize(bytes(file.tensor_data(name)), info.type.name, info.shape)
            for name, info in file.tensors.items()
        }


def check(found: Arrays, expected: Arrays, tolerance: float = TOLERANCE) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert np.abs(found[name] - array).max() <= tolerance, name


def converted(arrays: Arrays, tmp_path: Path, **options: Any) -> Path:
    """The same numbers as a GGUF file by way of a folder."""
    source = HuggingFace(config(), arrays, dtype="F32").write(tmp_path / "expected")
    convert_checkpoint(source, tmp_path / "expected.gguf", outtype="f32", **options)
    return tmp_path / "expected.gguf"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return HuggingFace(dtype="F32").write(tmp_path / "base")


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return Peft().write(tmp_path / "lora")


EXPECTED = add_products(weights(config()), pairs(config()), SCALE)


def test_a_folder_becomes_a_folder(base: Path, lora: Path, tmp_path: Path) -> None:
    merged = merge_adapters(base, [lora], tmp_path / "out")
    check(read_folder(tmp_path / "out"), EXPECTED)
    assert (merged.applied.n_changed, merged.applied.n_replaced) == (14, 0)
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == config()
    tokenizer = (base / "tokenizer.model").read_bytes()
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == tokenizer
    convert_checkpoint(tmp_path / "out", tmp_path / "x.gguf", outtype="f32")
    check(read_gguf(tmp_path / "x.gguf"), read_gguf(converted(EXPECTED, tmp_path)))


def test_a_folder_becomes_a_gguf_file(base: Path, lora: Path, tmp_path: Path) -> None:
    merge_adapters(base, [lora], tmp_path / "x.gguf", outtype="f32")
    check(read_gguf(tmp_path / "x.gguf"), read_gguf(converted(EXPECTED, tmp_path)))


def test_a_gguf_file_becomes_a_gguf_file(base: Path, lora: Path, tmp_path: Path) -> None:
    convert_checkpoint(base, tmp_path / "b.gguf", outtype="f32")
    merge_adapters(tmp_path / "b.gguf", [lora], tmp_path / "x.gguf")
    expected = converted(EXPECTED, tmp_path)
    check(read_gguf(tmp_path / "x.gguf"), read_gguf(expected))
    with GgufFile.open(tmp_path / "x.gguf") as a, GgufFile.open(expected) as b:
        names = set(a.metadata) | set(b.metadata)
        for key in names - {"general.name"}:
            assert a.metadata[key] == b.metadata[key], key


@pytest.mark.parametrize("mix", ["f16", "bf16", "q8_0", "q4_0"])
def test_types_of_a_gguf_base_stay(mix: str, base: Path, lora: Path, tmp_path: Path) -> None:
    convert_checkpoint(base, tmp_path / "b.gguf", outtype=mix)
    merge_adapters(tmp_path / "b.gguf", [lora], tmp_path / "x.gguf")
    # Stored, added in f32, stored again; what no adapter names is copied byte for byte.
    merge_adapters(tmp_path / "b.gguf", [lora], tmp_path / "f32.gguf", outtype="f32")
    quantize_file(tmp_path / "f32.gguf", tmp_path / "y.gguf", mix)
    with (
        GgufFile.open(tmp_path / "x.gguf") as x,
        GgufFile.open(tmp_path / "y.gguf") as y,
        GgufFile.open(tmp_path / "b.gguf") as b,
    ):
        for name, info in b.tensors.items():
            assert x.tensors[name].type == info.type
            is_changed = re.search(r"(attn_[qkv]|attn_output|ffn_(gate|up|down))\.weight", name)
            same = y if is_changed else b
            assert x.tensor_data(name) == same.tensor_data(name), name
        assert x.get_int("general.file_type") == b.get_int("general.file_type")


def test_a_quantised_base_is_encoded_as_asked(base: Path, lora: Path, tmp_path: Path) -> None:
    convert_checkpoint(base, tmp_path / "b.gguf", outtype="q8_0")
    merged = merge_adapters(tmp_path / "b.gguf", [lora], tmp_path / "x.gguf", outtype="q5_0")
    assert merged.plan.mix.name == "q5_0"
    with GgufFile.open(tmp_path / "x.gguf") as file:
        assert file.tensors["blk.0.attn_q.weight"].type.name == "q5_0"


def test_several_are_added_in_order(base: Path, tmp_path: Path) -> None:
    first = Peft()
    second = Peft(adapter_config(r=2, lora_alpha=3), pairs(config(), rank=2, seed=8))
    expected = add_products(EXPECTED, second.arrays, 3 / 2)
    paths = [first.write(tmp_path / "a"), second.write(tmp_path / "b")]
    merge_adapters(base, paths, tmp_path / "out")
    check(read_folder(tmp_path / "out"), expected)


def test_names_of_older_versions(base: Path, tmp_path: Path) -> None:
    plain = Peft()
    plain.arrays = {
        name.removeprefix(PREFIX).replace(".weight", ".default.weight"): array
        for name, array in plain.arrays.items()
    }
    plain.arrays["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)
    merge_adapters(base, [plain.write(tmp_path / "a")], tmp_path / "out")
    check(read_folder(tmp_path / "out"), EXPECTED)


@pytest.mark.parametrize(
    ("changes", "scale"),
    [
        ({"use_rslora": True}, 10 / math.sqrt(4)),
        ({"lora_alpha": 0.5}, 0.125),
        ({"alpha_pattern": {"self_attn.(q|k|v|o)_proj": 20, r"mlp\..*": 20}}, 20 / 4),
        ({"alpha_pattern": {"q_proj": 20.0, ".*": 20}}, 20 / 4),
        ({"r": 16, "rank_pattern": {".*_proj": 4}}, SCALE),
    ],
)
def test_scales(changes: dict[str, Any], scale: float, base: Path, tmp_path: Path) -> None:
    lora = Peft(adapter_config(**changes)).write(tmp_path / "lora")
    merge_adapters(base, [lora], tmp_path / "out")
    check(read_folder(tmp_path / "out"), add_products(weights(config()), pairs(config()), scale))


def test_patterns_choose_by_module(base: Path, tmp_path: Path) -> None:
    lora = Peft(adapter_config(alpha_pattern={"layers.1.self_attn.q_proj": 40}))
    lora.arrays = pairs(config(), targets=("q_proj",))
    merge_adapters(base, [lora.write(tmp_path / "lora")], tmp_path / "out")
    found, before = read_folder(tmp_path / "out"), weights(config())
    for layer, alpha in ((0, 10), (1, 40)):
        name = f"model.layers.{layer}.self_attn.q_proj.weight"
        expected = add_products(before, lora.arrays, alpha / 4)[name]
        assert np.abs(found[name] - expected).max() <= TOLERANCE


def test_matrices_that_lie_the_other_way_round(base: Path, tmp_path: Path) -> None:
    # fan_in_fan_out: the base holds (in, out), so the product is added transposed.
    values, name = config(), "model.layers.0.mlp.up_proj"
    rows, columns = weights(values)[f"{name}.weight"].shape
    rng = np.random.default_rng(3)
    a = rng.standard_normal((4, rows), dtype=np.float32)
    b = rng.standard_normal((columns, 4), dtype=np.float32)
    lora = Peft(adapter_config(fan_in_fan_out=True))
    lora.arrays = {f"{PREFIX}{name}.lora_A.weight": a, f"{PREFIX}{name}.lora_B.weight": b}
    merge_adapters(base, [lora.write(tmp_path / "lora")], tmp_path / "out")
    expected = weights(values)
    expected[f"{name}.weight"] = expected[f"{name}.weight"] + np.float32(SCALE) * (b @ a).T
    check(read_folder(tmp_path / "out"), expected, 1e-5)


def test_an_embedding_that_is_adapted(base: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    a = rng.standard_normal((4, N_PIECES), dtype=np.float32)
    b = rng.standard_normal((32, 4), dtype=np.float32)
    module = f"{PREFIX}model.embed_tokens"
    lora = Peft(arrays={f"{module}.lora_embedding_A": a, f"{module}.lora_embedding_B": b})
    merge_adapters(base, [lora.write(tmp_path / "lora")], tmp_path / "out")
    expected = weights(config())
    name = "model.embed_tokens.weight"
    expected[name] = expected[name] + np.float32(SCALE) * (b @ a).T
    check(read_folder(tmp_path / "out"), expected, 1e-5)


def chinese(rank: int = 4, n_added: int = 5, seed: int = 9) -> Peft:
    """An adapter with more pieces, as Chinese-LLaMA's: embedding, head and a tokenizer."""
    rng = np.random.default_rng(seed)
    shape = (N_PIECES + n_added, 32)
    whole: dict[str, NDArray[np.float32]] = {
        f"{PREFIX}model.embed_tokens.weight": rng.standard_normal(shape, dtype=np.float32),
        f"{PREFIX}lm_head.weight": rng.standard_normal(shape, dtype=np.float32),
    }
    more = [(chr(0x4E00 + i), NORMAL) for i in range(n_added)]
    return Peft(
        adapter_config(r=rank, modules_to_save=["embed_tokens", "lm_head"]),
        {**pairs(config(), rank, seed=seed), **whole},
        files={"tokenizer.model": write_model_proto(sentencepiece(more))},
    )


def grown(lora: Peft, before: Arrays) -> Arrays:
    merged = add_products(before, lora.arrays, 10 / lora.config["r"])
    for name, array in lora.arrays.items():
        if ".lora_" not in name:
            merged[name.removeprefix(PREFIX)] = array
    return merged


def test_a_tokenizer_in_a_form_that_is_not_read(base: Path, tmp_path: Path) -> None:
    # Newer versions save a copy of the base's as tokenizer.json alone.
    lora = Peft(files={"tokenizer.json": b"{}"}).write(tmp_path / "lora")
    merge_adapters(base, [lora], tmp_path / "x.gguf", outtype="f32")
    check(read_gguf(tmp_path / "x.gguf"), read_gguf(converted(EXPECTED, tmp_path)))
    merge_adapters(base, [lora], tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == b"{}"
    assert not (tmp_path / "out" / "tokenizer.model").exists()


def test_a_vocabulary_grows(base: Path, tmp_path: Path) -> None:
    lora = chinese()
    merged = merge_adapters(base, [lora.write(tmp_path / "lora")], tmp_path / "out")
    expected = grown(lora, weights(config()))
    check(read_folder(tmp_path / "out"), expected)
    applied = merged.applied
    assert (applied.grown_from, applied.vocab_size) == (N_PIECES, N_PIECES + 5)
    assert applied.n_replaced == 2
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written == config(vocab_size=N_PIECES + 5)
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == lora.files["tokenizer.model"]


def test_all_ways_of_growing_give_one_file(base: Path, tmp_path: Path) -> None:
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 5]}))
    lora = chinese().write(tmp_path / "lora")
    merge_adapters(base, [lora], tmp_path / "out")
    convert_checkpoint(tmp_path / "out", tmp_path / "a.gguf", outtype="f32")
    merge_adapters(base, [lora], tmp_path / "b.gguf", outtype="f32")
    convert_checkpoint(base, tmp_path / "base.gguf", outtype="f32")
    merge_adapters(tmp_path / "base.gguf", [lora], tmp_path / "c.gguf")
    expected = read_gguf(tmp_path / "a.gguf")
    assert expected["token_embd.weight"].shape == (N_PIECES + 5, 32)
    for name in ("b.gguf", "c.gguf"):
        check(read_gguf(tmp_path / name), expected, 0)
        with GgufFile.open(tmp_path / "a.gguf") as a, GgufFile.open(tmp_path / name) as b:
            assert b.get_int("llama.vocab_size") == N_PIECES + 5
            for key in set(a.metadata) - {"general.name"}:
                assert a.metadata[key] == b.metadata[key], key


def test_adapters_are_stacked_as_the_plus_models_are(base: Path, tmp_path: Path) -> None:
    # First more pieces, then one more still, whose embedding replaces the first one's.
    first, second = chinese(), chinese(rank=2, n_added=6, seed=10)
    paths = [first.write(tmp_path / "a"), second.write(tmp_path / "b")]
    merged = merge_adapters(base, paths, tmp_path / "out")
    check(read_folder(tmp_path / "out"), grown(second, grown(first, weights(config()))))
    assert merged.applied.vocab_size == N_PIECES + 6
    written = (tmp_path / "out" / "tokenizer.model").read_bytes()
    assert written == second.files["tokenizer.model"]


def test_a_later_adapter_replaces_what_an_earlier_one_added(base: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    first = Peft(
        arrays={
            f"{PREFIX}lm_head.lora_A.weight": rng.standard_normal((4, 32), dtype=np.float32),
            f"{PREFIX}lm_head.lora_B.weight": rng.standard_normal((N_PIECES, 4), dtype=np.float32),
        }
    )
    whole = rng.standard_normal((N_PIECES, 32), dtype=np.float32)
    second = Peft(arrays={f"{PREFIX}lm_head.weight": whole})
    paths = [first.write(tmp_path / "a"), second.write(tmp_path / "b")]
    merge_adapters(base, paths, tmp_path / "out")
    check(read_folder(tmp_path / "out"), {**weights(config()), "lm_head.weight": whole})
    merge_adapters(base, paths[::-1], tmp_path / "reversed")
    found = read_folder(tmp_path / "reversed")["lm_head.weight"]
    expected = add_products({"lm_head.weight": whole}, first.arrays, SCALE)["lm_head.weight"]
    assert np.abs(found - expected).max() < 1e-5


def test_what_is_saved_for_a_tied_head_twice(tmp_path: Path) -> None:
    source = HuggingFace(config(tie_word_embeddings=True), dtype="F32")
    del source.arrays["lm_head.weight"]
    lora = chinese()
    embedding = lora.arrays[f"{PREFIX}model.embed_tokens.weight"]
    lora.arrays[f"{PREFIX}lm_head.weight"] = embedding
    merge_adapters(source.write(tmp_path / "m"), [lora.write(tmp_path / "a")], tmp_path / "out")
    found = read_folder(tmp_path / "out")
    assert "lm_head.weight" not in found
    assert np.array_equal(found["model.embed_tokens.weight"], embedding)


def test_a_replaced_matrix_takes_the_row_order_of_the_file(base: Path, tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.q_proj"
    array = np.arange(32 * 32, dtype=np.float32).reshape(32, 32)
    lora = Peft(adapter_config(modules_to_save=["q_proj"]), {f"{PREFIX}{name}.weight": array})
    merge_adapters(base, [lora.write(tmp_path / "a")], tmp_path / "x.gguf", outtype="f32")
    found = read_gguf(tmp_path / "x.gguf")["blk.0.attn_q.weight"]
    assert np.array_equal(found, array[interleave(32, 4)])


@pytest.mark.parametrize("form", ["folder", "gguf"])
def test_gguf_adapters(form: str, base: Path, tmp_path: Path) -> None:
    # Rows of GGUF, so that a checkpoint's must be found back from them.
    name = "model.layers.1.self_attn.q_proj.weight"
    rng = np.random.default_rng(3)
    a = rng.standard_normal((4, 32), dtype=np.float32)
    b = rng.standard_normal((32, 4), dtype=np.float32)
    tensors = {
        "blk.1.attn_q.weight.lora_a": a,
        "blk.1.attn_q.weight.lora_b": b[interleave(32, 4)],
        "token_embd.weight.lora_a": np.zeros((N_PIECES, 2), np.float32),
        "token_embd.weight.lora_b": np.zeros((32, 2), np.float32),
    }
    lora = write_gguf_adapter(tmp_path / "a.gguf", tensors, alpha=8.0)
    expected = weights(config())
    expected[name] = expected[name] + np.float32(2) * (b @ a)
    if form == "folder":
        merge_adapters(base, [lora], tmp_path / "out")
        check(read_folder(tmp_path / "out"), expected, 1e-5)
    else:
        merge_adapters(base, [lora], tmp_path / "x.gguf", outtype="f32")
        check(read_gguf(tmp_path / "x.gguf"), read_gguf(converted(expected, tmp_path)), 1e-5)


def test_types_of_a_folder(base: Path, lora: Path, tmp_path: Path) -> None:
    values = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**values, "torch_dtype": "float32"}))
    merge_adapters(base, [lora], tmp_path / "out", outtype="BF16")
    file = SafetensorsFile(tmp_path / "out" / "model.safetensors")
    assert {entry.dtype for entry in file.tensors.values()} == {"BF16"}
    file.close()
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["torch_dtype"] == "bfloat16"


def test_large_folders_are_written_in_shards(
    base: Path, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_folder, "SHARD_BYTES", 40_000)
    merge_adapters(base, [lora], tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    assert len(names) > 2
    assert names[0] == f"model-00001-of-{len(names):05d}.safetensors"
    check(read_folder(tmp_path / "out"), EXPECTED)
    convert_checkpoint(tmp_path / "out", tmp_path / "x.gguf", outtype="f32")
    check(read_gguf(tmp_path / "x.gguf"), read_gguf(converted(EXPECTED, tmp_path)))


@pytest.mark.parametrize("out", ["out", "x.gguf"])
def test_progress_is_told(out: str, base: Path, lora: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    merge_adapters(base, [lora], tmp_path / out, progress=lambda *call: calls.append(call))
    assert [n for _, n, _ in calls] == sorted(n for _, n, _ in calls)
    assert calls[-1][1] == calls[-1][2] > 0


def test_adapters_from_pickles_are_the_same(tmp_path: Path) -> None:
    base = HuggingFace(dtype="F32").write(tmp_path / "m")
    lora = Peft()
    folder = lora.write(tmp_path / "lora")
    merge_adapters(base, [folder], tmp_path / "a.gguf", outtype="f32")
    (folder / "adapter_model.safetensors").unlink()
    write_torch(folder / "adapter_model.bin", lora.arrays, lora.dtype)
    merge_adapters(base, [folder], tmp_path / "b.gguf", outtype="f32")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
