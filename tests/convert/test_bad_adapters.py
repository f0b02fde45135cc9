"""Adapters that are wrong, cut or for another base: one clear line, and no output at all."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import PREFIX, Peft, adapter_config, pairs, write_gguf_adapter
from checkpoints import N_PIECES, Arrays, HuggingFace, config, sentencepiece

from pyllama_rt.convert import convert_adapter, convert_checkpoint, merge_adapters
from pyllama_rt.errors import ConfigError, FormatError, PyllamaRtError, UnsupportedError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter
from pyllama_rt.formats.gguf_adapter import NORMS_KEY
from pyllama_rt.tokenizer.model_proto import NORMAL, write_model_proto

Q0 = f"{PREFIX}model.layers.0.self_attn.q_proj"
Q7 = f"{PREFIX}model.layers.7.self_attn.q_proj"


def refused(base: Path, *loras: Path, out: str = "x.gguf", **options: Any) -> str:
    """The error of a merge that must fail and leave what was there before."""
    folder = base.parent / "out"
    folder.mkdir(exist_ok=True)
    (folder / "x.gguf").write_bytes(b"old")
    with pytest.raises(PyllamaRtError) as caught:
        merge_adapters(base, loras, folder / out, **options)
    assert [path.name for path in folder.iterdir()] == ["x.gguf"]
    assert (folder / "x.gguf").read_bytes() == b"old"
    assert "\n" not in str(caught.value)
    return f"{type(caught.value).__name__}: {caught.value}"


def has(text: str, *words: str) -> None:
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return HuggingFace().write(tmp_path / "base")


# What the adapter says -> words of the message.
CONFIGS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "rank 0": ({"r": 0}, ("FormatError", "adapter_config.json: r", "1 or more", "found 0")),
    "rank no number": ({"r": "4"}, ("FormatError", "r: expected", "'4'")),
    "rank not that of the tensors": ({"r": 8}, ("FormatError", "[8, …]", "[4, 32]", "q_proj")),
    "rank of a pattern": (
        {"rank_pattern": {"o_proj": 3}}, ("FormatError", "[3, …]", "[4, 32]", "o_proj"),
    ),
    "rank 0 of a pattern": ({"rank_pattern": {"o_proj": 0}}, ("FormatError", "rank_pattern")),
    "alpha NaN": ({"lora_alpha": math.nan}, ("FormatError", "lora_alpha", "finite", "nan")),
    "alpha 0": ({"lora_alpha": 0}, ("FormatError", "lora_alpha", "above 0")),
    "alpha infinite": ({"lora_alpha": math.inf}, ("FormatError", "lora_alpha", "inf")),
    "alpha huge": ({"lora_alpha": 10**400}, ("FormatError", "lora_alpha")),
    "alpha of a pattern": (
        {"alpha_pattern": {"q_proj": math.nan}}, ("FormatError", "alpha_pattern", "q_proj"),
    ),
    "hostile pattern": (
        {"alpha_pattern": {"(a+)+b": 3}}, ("UnsupportedError", "alpha_pattern", "(a+)+b"),
    ),
    "broken pattern": ({"rank_pattern": {"(q_proj": 3}}, ("UnsupportedError", "(q_proj")),
    "patterns no object": ({"rank_pattern": [1]}, ("FormatError", "rank_pattern")),
    "DoRA": ({"use_dora": True}, ("UnsupportedError", "DoRA")),
    "biases": ({"bias": "all"}, ("UnsupportedError", "bias", "'none'", "'all'")),
    "lora_bias": ({"lora_bias": True}, ("UnsupportedError", "lora_bias")),
    "LoHa": ({"peft_type": "LOHA"}, ("UnsupportedError", "LOHA", "known: LORA")),
    "no type": ({"peft_type": None}, ("FormatError", "peft_type", "nothing")),
    "PiSSA": ({"init_lora_weights": "pissa"}, ("UnsupportedError", "pissa")),
    "layers copied": ({"layer_replication": [[0, 2]]}, ("UnsupportedError", "layer_replication")),
    "of the future": ({"use_magic": True}, ("UnsupportedError", "use_magic", "remove the key")),
    "saved module absent": (
        {"modules_to_save": ["lm_head"]}, ("FormatError", "modules_to_save", "'lm_head'"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFIGS)
def test_impossible_configs_are_refused(case: str, base: Path, tmp_path: Path) -> None:
    changes, words = CONFIGS[case]
    lora = Peft(adapter_config(**changes)).write(tmp_path / "lora")
    has(refused(base, lora), *words)
    has(refused(base, lora, out="folder"), *words)


def renamed(old: str, new: str) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[new] = arrays.pop(old)

    return change


def put(name: str, *shape: int, value: float = 1.0) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = np.full(shape, value, np.float32)

    return change


def without(name: str) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        del arrays[name]

    return change


def all_of(*changes: Callable[[Arrays], None]) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        for one in changes:
            one(arrays)

    return change


def clear(arrays: Arrays) -> None:
    arrays.clear()


TENSORS: dict[str, tuple[Callable[[Arrays], None], tuple[str, ...]]] = {
    "A without B": (without(f"{Q0}.lora_B.weight"), ("q_proj", "found no lora_B", "lora_A")),
    "B without A": (without(f"{Q0}.lora_A.weight"), ("q_proj", "found no lora_A", "lora_B")),
    "ranks that differ": (put(f"{Q0}.lora_B.weight", 32, 3), ("[…, 4]", "[32, 3]", "lora_B")),
    "rank 0": (put(f"{Q0}.lora_A.weight", 0, 32), ("[4, …]", "[0, 32]")),
    "no columns": (put(f"{Q0}.lora_A.weight", 4, 0), ("[4, …]", "[4, 0]")),
    "a vector": (put(f"{Q0}.lora_A.weight", 4), ("[4, …]", "[4]")),
    "base of another width": (
        put(f"{Q0}.lora_A.weight", 4, 48), ("shape [32, 32]", "[32, 48]", "another model"),
    ),
    "base of another height": (
        put(f"{Q0}.lora_B.weight", 48, 4), ("shape [32, 32]", "[48, 32]", "base"),
    ),
    "a target that is unknown": (
        all_of(
            renamed(f"{Q0}.lora_A.weight", f"{Q0[:-1]}i.lora_A.weight"),
            renamed(f"{Q0}.lora_B.weight", f"{Q0[:-1]}i.lora_B.weight"),
        ),
        ("no tensor", "q_proi", "did you mean 'model.layers.0.self_attn.q_proj.weight'?"),
    ),
    "a layer too many": (
        all_of(
            renamed(f"{Q0}.lora_A.weight", f"{Q7}.lora_A.weight"),
            renamed(f"{Q0}.lora_B.weight", f"{Q7}.lora_B.weight"),
        ),
        ("no tensor", "layers.7", "another model"),
    ),
    "a name that means nothing": (
        renamed(f"{Q0}.lora_A.weight", f"{Q0}.lora_C.weight"), ("lora_C", "did you mean 'lora_"),
    ),
    "a name without end": (put("x" * 200 + ".weight", 2, 2), ("up to 128 characters",)),
    "DoRA": (put(f"{Q0}.lora_magnitude_vector.weight", 32), ("DoRA",)),
    "one tensor under two names": (
        put(f"{Q0}.lora_A.default.weight", 4, 32), ("means the same", "lora_A"),
    ),
    "a NaN": (put(f"{Q0}.lora_A.weight", 4, 32, value=math.nan), ("lora_A", "NaN")),
    "an infinity": (put(f"{Q0}.lora_B.weight", 32, 4, value=math.inf), ("lora_B", "infinity")),
    "sums beyond float16": (
        all_of(
            put(f"{Q0}.lora_A.weight", 4, 32, value=1e3),
            put(f"{Q0}.lora_B.weight", 32, 4, value=1e3),
        ),
        ("weights up to 1e+07 do not fit f16", "lora_A"),
    ),
    "a whole tensor of another shape": (
        put(f"{PREFIX}model.embed_tokens.weight", N_PIECES, 48),
        ("[…, 32]", "embed_tokens", "48"),
    ),
    "a whole norm of another shape": (
        put(f"{PREFIX}model.norm.weight", 48), ("shape [32]", "model.norm", "[48]"),
    ),
    "a whole tensor that is unknown": (
        put(f"{PREFIX}model.nrm.weight", 32), ("no tensor", "did you mean 'model.norm.weight'?"),
    ),
    "an embedding without its head": (
        put(f"{PREFIX}model.embed_tokens.weight", N_PIECES + 1, 32),
        (f"lm_head.weight': expected {N_PIECES + 1} rows", f"found {N_PIECES}", "both"),
    ),
    "a vocabulary without a tokenizer": (
        all_of(
            put(f"{PREFIX}model.embed_tokens.weight", N_PIECES + 1, 32),
            put(f"{PREFIX}lm_head.weight", N_PIECES + 1, 32),
        ),
        ("ConfigError", f"from {N_PIECES} to {N_PIECES + 1}", "merge-tokenizer"),
    ),
    "nothing": (clear, ("found no tensor",)),
}  # fmt: skip


@pytest.mark.parametrize("case", TENSORS)
def test_impossible_tensors_are_refused(case: str, base: Path, tmp_path: Path) -> None:
    change, words = TENSORS[case]
    lora = Peft()
    change(lora.arrays)
    folder = lora.write(tmp_path / "lora")
    has(refused(base, folder), *words)
    has(refused(base, folder, out="folder"), *words)
    convert_checkpoint(base, tmp_path / "base.gguf")
    refused(tmp_path / "base.gguf", folder)


def test_a_tokenizer_with_more_pieces_than_rows_is_refused(base: Path, tmp_path: Path) -> None:
    more = write_model_proto(sentencepiece([("[PAD]", NORMAL)]))
    lora = Peft(files={"tokenizer.model": more}).write(tmp_path / "lora")
    for out in ("x.gguf", "folder"):
        text = refused(base, lora, out=out)
        has(text, f"{N_PIECES + 1} pieces", f"{N_PIECES} rows", str(lora / "tokenizer.model"))


def test_a_head_of_its_own_over_a_tied_base_is_refused(tmp_path: Path) -> None:
    source = HuggingFace(config(tie_word_embeddings=True))
    del source.arrays["lm_head.weight"]
    lora = Peft()
    put(f"{PREFIX}lm_head.weight", N_PIECES, 32)(lora.arrays)
    text = refused(source.write(tmp_path / "m"), lora.write(tmp_path / "lora"))
    has(text, "UnsupportedError", "ties its head", "lm_head")


def test_the_same_adapter_twice_is_refused(base: Path, tmp_path: Path) -> None:
    a = Peft().write(tmp_path / "a")
    (tmp_path / "link").symlink_to(a)
    copy = Peft().write(tmp_path / "copy")
    for b in (a, tmp_path / "link", copy):
        has(refused(base, a, b), "ConfigError", "same adapter", str(a), str(b))
    other = Peft(arrays=pairs(config(), seed=1)).write(tmp_path / "b")
    merge_adapters(base, [a, other], tmp_path / "y.gguf")


def test_what_is_no_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    convert_checkpoint(base, tmp_path / "base.gguf")
    has(refused(base), "ConfigError", "one or more")
    has(refused(base, tmp_path / "absent"), "ConfigError", "no such file")
    has(refused(base, base), "ConfigError", "adapter_config.json")
    has(refused(base, tmp_path / "base.gguf"), "FormatError", "general.type", "'model'")
    lora = Peft().write(tmp_path / "lora")
    has(refused(tmp_path / "absent", lora), "ConfigError", "no such file")
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")
    has(refused(base, lora), "FormatError", "adapter_model.bin")
    (lora / "adapter_model.bin").unlink()
    has(refused(base, lora), "FormatError", "adapter_model.safetensors")


def test_an_adapter_file_is_no_base(base: Path, tmp_path: Path) -> None:
    lora = Peft().write(tmp_path / "lora")
    convert_adapter(lora, base, tmp_path / "a.gguf")
    has(refused(tmp_path / "a.gguf", lora), "FormatError", "a model, found 'adapter'")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("token_embd.weight", None, "expected tensor token_embd.weight, found no such tensor"),
        ("blk.1.ffn_up.weight", None, "expected tensor blk.1.ffn_up.weight"),
        ("blk.0.attn_q.weight", (32, 64), "[32, 32], as the metadata have q × dim"),
    ],
)
def test_a_gguf_base_with_other_tensors_is_refused(
    name: str, shape: tuple[int, ...] | None, message: str, base: Path, tmp_path: Path
) -> None:
    lora = Peft().write(tmp_path / "lora")
    convert_checkpoint(base, tmp_path / "good.gguf")
    with GgufFile.open(tmp_path / "good.gguf") as good, GgufWriter(tmp_path / "b.gguf") as bad:
        for key in good.metadata:
            bad.copy(good.metadata, key)
        kept = [info for info in good.tensors.values() if info.name != name or shape]
        for info in kept:
            bad.declare(info.name, (info.name == name and shape) or info.shape, info.type)
        for info in kept:
            data = good.tensor_data(info.name)
            bad.write_tensor(info.name, bytes(2 * 32 * 64) if info.name == name else data)
    has(refused(tmp_path / "b.gguf", lora), "FormatError", message, str(tmp_path / "b.gguf"))


def matrices(rows: int = 32, columns: int = 32, rank: int = 2) -> dict[str, Any]:
    return {
        "blk.0.attn_q.weight.lora_a": np.zeros((rank, columns), np.float32),
        "blk.0.attn_q.weight.lora_b": np.zeros((rows, rank), np.float32),
    }


def test_gguf_adapters_for_other_models_are_refused(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    write_gguf_adapter(path, matrices(), general__architecture="gemma")
    has(refused(base, path), "'llama', as", "'gemma'", "another model")
    write_gguf_adapter(path, matrices(rows=48))
    has(refused(base, path), "blk.0.attn_q.weight", "[32, 32]", "[48, 32]")
    tensors = {name.replace("blk.0", "blk.9"): array for name, array in matrices().items()}
    write_gguf_adapter(path, tensors)
    has(refused(base, path), "no tensor 'blk.9.attn_q", "did you mean 'blk.1.attn_q.weight'?")


def test_a_fingerprint_of_another_base_is_refused(base: Path, tmp_path: Path) -> None:
    lora = Peft().write(tmp_path / "lora")
    other = HuggingFace(dtype="F32")
    other.arrays["model.norm.weight"] = other.arrays["model.norm.weight"] + 1
    convert_adapter(lora, other.write(tmp_path / "other"), tmp_path / "a.gguf")
    has(refused(base, tmp_path / "a.gguf"), NORMS_KEY, "of the norms in", "same shape", "--base")
    for mix in ("f16", "q8_0"):  # the base in any type is the base
        convert_checkpoint(tmp_path / "other", tmp_path / "b.gguf", outtype=mix)
        merge_adapters(tmp_path / "b.gguf", [tmp_path / "a.gguf"], tmp_path / "y.gguf")


def test_options_that_do_not_fit_are_refused(base: Path, tmp_path: Path) -> None:
    lora = Peft().write(tmp_path / "lora")
    convert_checkpoint(base, tmp_path / "base.gguf")
    has(refused(base, lora, outtype="q4_k_x"), "ConfigError", "did you mean")
    has(refused(base, lora, out="folder", outtype="q8_0"), "ConfigError", "f32, f16, bf16")
    has(refused(tmp_path / "base.gguf", lora, out="folder"), "ConfigError", "ends in .gguf")


def test_sources_are_never_written_over(base: Path, tmp_path: Path) -> None:
    lora = Peft().write(tmp_path / "lora")
    convert_checkpoint(base, tmp_path / "base.gguf")
    convert_adapter(lora, base, tmp_path / "a.gguf")
    before = (tmp_path / "base.gguf").read_bytes()
    for out in (tmp_path / "base.gguf", tmp_path / "a.gguf"):
        with pytest.raises(ConfigError, match="replace its own input"):
            merge_adapters(tmp_path / "base.gguf", [tmp_path / "a.gguf"], out)
    for out in (base, lora):
        with pytest.raises(ConfigError, match="replace its own input"):
            merge_adapters(base, [lora], out)
    with pytest.raises(ConfigError, match="not empty"):
        merge_adapters(base, [lora], tmp_path)
    with pytest.raises(ConfigError, match="replace its own input"):
        convert_adapter(lora, tmp_path / "base.gguf", tmp_path / "base.gguf")
    assert (tmp_path / "base.gguf").read_bytes() == before


@pytest.mark.parametrize("out", ["x.gguf", "folder"])
def test_an_interrupted_run_leaves_nothing(out: str, base: Path, tmp_path: Path) -> None:
    lora = Peft().write(tmp_path / "lora")
    folder = tmp_path / "out"
    folder.mkdir()

    def stop(name: str, n_done: int, n_total: int) -> None:
        del n_total
        if "1" in name:
            raise KeyboardInterrupt(n_done)

    with pytest.raises(KeyboardInterrupt):
        merge_adapters(base, [lora], folder / out, progress=stop)
    assert not list(folder.iterdir())


def test_adapters_that_no_file_can_hold_are_not_converted(base: Path, tmp_path: Path) -> None:
    lora = Peft()
    put(f"{PREFIX}lm_head.weight", N_PIECES, 32)(lora.arrays)
    with pytest.raises(UnsupportedError, match=r"lm_head.*merge it into the base"):
        convert_adapter(lora.write(tmp_path / "a"), base, tmp_path / "x.gguf")
    lora = Peft()
    put(f"{Q0}.lora_A.weight", 4, 48)(lora.arrays)
    with pytest.raises(FormatError, match=r"shape \[32, 32\].*found \[32, 48\]"):
        convert_adapter(lora.write(tmp_path / "b"), base, tmp_path / "x.gguf")
    with pytest.raises(ConfigError, match="absent"):
        convert_adapter(tmp_path / "b", tmp_path / "absent", tmp_path / "x.gguf")
    with pytest.raises(ConfigError, match="folder of a peft adapter"):
        convert_adapter(base / "config.json", base, tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


def test_json_that_is_none_is_refused(base: Path, tmp_path: Path) -> None:
    lora = Peft().write(tmp_path / "lora")
    (lora / "adapter_config.json").write_text("[]")
    has(refused(base, lora), "FormatError", "a JSON object")
    (lora / "adapter_config.json").write_text(json.dumps({"peft_type": 3}))
    has(refused(base, lora), "FormatError", "peft_type", "a string")
