"""Checkpoints that are wrong, cut or lying: one clear line, and no output at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import N_PIECES, HuggingFace, config, sentencepiece, weights, write_safetensors
from convert_refused import refused

from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.errors import ConfigError, FormatError, NumericsError
from pyllama_rt.tokenizer.model_proto import NORMAL, USER_DEFINED

INDEX = "model.safetensors.index.json"


# Changes to config.json -> what the message must say.
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "fewer layers": ({"num_hidden_layers": 1}, "promises fewer layers than layer 1"),
    "more layers": ({"num_hidden_layers": 3}, "num_hidden_layers"),
    "layers no number": ({"num_hidden_layers": "2"}, "num_hidden_layers.*a whole number"),
    "no layers": ({"num_hidden_layers": 0}, "num_hidden_layers"),
    "layers without end": ({"num_hidden_layers": 2**40}, "num_hidden_layers"),
    "other heads": ({"num_key_value_heads": 1}, r"shape \[8, 32\].*found \[16, 32\]"),
    "heads that do not divide": ({"num_attention_heads": 5}, "num_attention_heads"),
    "more KV heads than heads": ({"num_key_value_heads": 8}, "json: num_key_value_heads"),
    "no heads": ({"num_attention_heads": 0}, "num_attention_heads"),
    "other width": ({"hidden_size": 64}, "shape"),
    "other hidden width": ({"intermediate_size": 65}, "shape"),
    "other vocabulary": ({"vocab_size": 1000}, r"shape \[1000, 32\], as config.json has vocab"),
    "tied": ({"tie_word_embeddings": True}, "tie_word_embeddings.*lm_head.weight differs"),
    "tied no bool": ({"tie_word_embeddings": "no"}, "tie_word_embeddings"),
    "epsilon": ({"rms_norm_eps": -1.0}, "json: rms_norm_eps"),
    "epsilon that single precision has not": ({"rms_norm_eps": 1e-60}, "json: rms_norm_eps"),
    "epsilon no number": ({"rms_norm_eps": "x"}, "rms_norm_eps"),
    "rope base": ({"rope_theta": 0}, "json: rope_theta"),
    "odd heads": ({"head_dim": 9}, "json: head_dim: expected an even number, found 9"),
    "rope base of 400 digits": ({"rope_theta": 10**400}, "rope_theta"),
    "activation": ({"hidden_act": "gelu"}, "hidden_act"),
    "architecture": ({"architectures": ["LlamaForCasualLM"]}, "did you mean 'LlamaForCausalLM'"),
    "architectures no list": ({"architectures": "LlamaForCausalLM"}, "architectures"),
    "no architectures": ({"architectures": None}, "architectures"),
    "rope scaling": ({"rope_scaling": {"rope_type": "magic"}}, "magic"),
    "quantised": ({"quantization_config": {"quant_method": "gptq"}}, "quantised already"),
    "eos beyond the vocabulary": ({"eos_token_id": [2, 10**6]}, "config.json: eot id.*1000000"),
    "bos beyond the vocabulary": ({"bos_token_id": 10**6}, "config.json: bos id.*1000000"),
    "eos no number": ({"eos_token_id": "2"}, "eos_token_id"),
}


@pytest.mark.parametrize("case", LIES)
def test_a_lying_config_is_refused(case: str, tmp_path: Path) -> None:
    changes, message = LIES[case]
    source = HuggingFace()
    source.arrays = weights(source.config)
    source.config = config(**changes)
    error = refused(source.write(tmp_path / "m"))
    error.match(message)
    assert str(tmp_path) in str(error.value)


def test_an_untied_head_must_be_there(tmp_path: Path) -> None:
    source = HuggingFace()
    del source.arrays["lm_head.weight"]
    refused(source.write(tmp_path / "m")).match("tie_word_embeddings: expected true")


def test_missing_and_unknown_tensors_are_named(tmp_path: Path) -> None:
    source = HuggingFace()
    del source.arrays["model.layers.1.mlp.up_proj.weight"]
    refused(source.write(tmp_path / "a")).match(r"layers\.1\.mlp\.up_proj\.weight")
    source = HuggingFace()
    source.arrays["model.layers.0.mlp.up_projj.weight"] = np.ones(2, np.float32)
    refused(source.write(tmp_path / "b")).match("did you mean 'model.layers.0.mlp.up_proj.weight'")


def test_weights_of_other_types_are_refused(tmp_path: Path) -> None:
    refused(HuggingFace(dtype="F64").write(tmp_path / "m")).match("dtype F64")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named(value: float, tmp_path: Path) -> None:
    source = HuggingFace()
    source.arrays["model.layers.1.mlp.down_proj.weight"][3, 5] = value
    error = refused(source.write(tmp_path / "m"))
    assert error.type is NumericsError
    error.match(r"layers\.1\.mlp\.down_proj\.weight.*NaN or infinity")


def test_weights_beyond_half_precision_need_a_wider_type(tmp_path: Path) -> None:
    source = HuggingFace(dtype="F32")
    source.arrays["lm_head.weight"][0, 0] = -1e6
    folder = source.write(tmp_path / "m")
    for outtype in (None, "f16"):
        refused(folder, outtype=outtype).match("lm_head.weight.*up to 1e.06 do not fit f16.*bf16")
    # A block stores its scale in half precision, not its weights.
    for outtype in ("bf16", "q8_0", "q4_0"):
        convert_checkpoint(folder, tmp_path / "wide.gguf", outtype=outtype)


# What is done to a directory of three shards -> what the message must say.
def edit_index(change: Callable[[dict[str, str]], object]) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        change(index["weight_map"])
        (folder / INDEX).write_text(json.dumps(index))

    return edit


def config_as_folder(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()


FIRST = "model-00001-of-00003.safetensors"
LAST = "model-00003-of-00003.safetensors"
SHARDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing shard": (lambda m: (m / LAST).unlink(), "00003.*missing"),
    "shard not in the index": (
        lambda m: write_safetensors(m / "model-00004-of-00003.safetensors", {}),
        "00004.*does not name this file",
    ),
    "tensor in two shards": (
        lambda m: write_safetensors(m / LAST, HuggingFace().arrays),
        "is also in",
    ),
    "tensor not in its shard": (
        edit_index(lambda names: names.update({"model.norm.weight": LAST})),
        "model.norm.weight.*as the index says",
    ),
    "tensor in no shard": (
        edit_index(lambda names: names.update({"ghost": LAST})),
        "ghost.*no such tensor",
    ),
    "tensor not in the index": (
        edit_index(lambda names: names.pop("model.norm.weight")),
        "model.norm.weight",
    ),
    "folder above": (
        edit_index(lambda names: names.update({"model.norm.weight": f"../{FIRST}"})),
        "without a folder",
    ),
    "absolute path": (
        edit_index(lambda names: names.update({"model.norm.weight": "/dev/zero"})),
        "without a folder",
    ),
    "no name": (
        edit_index(lambda names: names.update({"model.norm.weight": ""})),
        "without a folder",
    ),
    "empty index": (lambda m: (m / INDEX).write_text("{}"), "weight_map"),
    "index no JSON": (lambda m: (m / INDEX).write_text("{"), "JSON"),
    "no weights": (lambda m: (m / INDEX).unlink(), "expected model.safetensors"),
    "pickled weights": (
        lambda m: (m / INDEX).rename(m / "pytorch_model.bin"),
        "pytorch_model.bin: end of the zip archive",
    ),
    "no config": (lambda m: (m / "config.json").unlink(), "no such file"),
    "config is a folder": (
        config_as_folder,
        "expected a regular file, found a directory",
    ),
    "deep config": (lambda m: (m / "config.json").write_text('{"a":' * 10**5), "nested too"),
    "no tokenizer": (lambda m: (m / "tokenizer.model").unlink(), "no tokenizer.model"),
    "tokenizer.model as tokenizer.json": (
        lambda m: (m / "tokenizer.model").rename(m / "tokenizer.json"),
        "tokenizer.json: content: expected UTF-8 text",
    ),
    "broken tokenizer": (lambda m: (m / "tokenizer.model").write_bytes(b"\xff" * 9), "tokenizer"),
}


@pytest.mark.parametrize("case", SHARDS)
def test_a_broken_directory_is_refused(case: str, tmp_path: Path) -> None:
    folder = HuggingFace().write(tmp_path / "m", n_shards=3)
    SHARDS[case][0](folder)
    error = refused(folder)
    error.match(SHARDS[case][1])
    assert str(tmp_path) in str(error.value)


def decoder(token: object, text: object = "<new>") -> dict[str, Any]:
    return {"tokenizer_config.json": {"added_tokens_decoder": {token: {"content": text}}}}


VOCABULARIES: dict[str, tuple[dict[str, Any], str]] = {
    "id beyond the rows": (decoder(str(N_PIECES)), f"expected below {N_PIECES}"),
    "id taken": (decoder("260"), "260, which is 'a'"),
    "id of a byte": (decoder("7"), "expected an id that is not taken"),
    "negative id": (decoder("-1"), "ids as keys"),
    "id no number": (decoder("x"), "ids as keys"),
    "id of 5000 digits": (decoder("9" * 5000), "ids as keys"),
    "text no string": (decoder("260", 7), "content"),
    "negative added id": ({"added_tokens.json": {"x": -1}}, "expected an id"),
    "added id no number": ({"added_tokens.json": {"x": None}}, "expected an id"),
    "two pieces, one id": ({"added_tokens.json": {"x": 9, "y": 9}}, "an id of its own"),
    "unknown bos": (
        {"special_tokens_map.json": {"bos_token": "<bos>"}},
        "special_tokens_map.json: bos piece: expected one of tokenizer.model, found '<bos>'",
    ),
    "long piece": (decoder("272", "x" * 513), "tokenizer_config.json: added piece .*up to 512"),
    "half a pair": (decoder("272", "\ud800"), "tokenizer_config.json: .*half a surrogate pair"),
    "template name": (
        {"tokenizer_config.json": {"chat_template": [{"name": "a\nb", "template": ""}]}},
        "a short printable name",
    ),
    "template without end": (
        {"tokenizer_config.json": {"chat_template": "x" * (1 << 20) + "x"}},
        "up to 1 MiB",
    ),
    "bos no text": ({"tokenizer_config.json": {"bos_token": 1}}, "bos_token"),
    "add_bos no bool": ({"tokenizer_config.json": {"add_bos_token": "yes"}}, "add_bos_token"),
    "template no text": ({"tokenizer_config.json": {"chat_template": 3}}, "chat_template"),
    "template without name": (
        {"tokenizer_config.json": {"chat_template": [{"template": ""}]}},
        "chat_template",
    ),
    "settings no object": ({"tokenizer_config.json": []}, "a JSON object, found a list"),
    "eos twice in JSON": ({"generation_config.json": '{"a": 1, "a": 2}'}, "appears twice"),
    "huge eos": (
        {"generation_config.json": {"eos_token_id": [2, 2**70]}},
        "generation_config.json: eot id",
    ),
}


@pytest.mark.parametrize("case", VOCABULARIES)
def test_a_contradictory_vocabulary_is_refused(case: str, tmp_path: Path) -> None:
    files, message = VOCABULARIES[case]
    refused(HuggingFace(files=files).write(tmp_path / "m")).match(message)


def test_more_pieces_than_rows_are_refused(tmp_path: Path) -> None:
    source = HuggingFace(config(vocab_size=N_PIECES - 1))
    refused(source.write(tmp_path / "m")).match(f"{N_PIECES} pieces.*{N_PIECES - 1} rows")


def test_repeated_and_empty_pieces_are_refused(tmp_path: Path) -> None:
    values = config(vocab_size=N_PIECES + 1)
    source = HuggingFace(values, tokenizer=sentencepiece([("a", NORMAL)]))
    refused(source.write(tmp_path / "a")).match("different ones, found 'a' 2 times")
    both = sentencepiece([("▁b", NORMAL), (" b", USER_DEFINED), ("▁▁b", USER_DEFINED)])
    source = HuggingFace(config(vocab_size=N_PIECES + 3), tokenizer=both)
    convert_checkpoint(source.write(tmp_path / "c"), tmp_path / "c.gguf")
    both = sentencepiece([(" b", USER_DEFINED), ("▁b", USER_DEFINED)])  # one text in GGUF
    source = HuggingFace(config(vocab_size=N_PIECES + 2), tokenizer=both)
    refused(source.write(tmp_path / "d")).match("different ones, found ' b' 2 times")
    source = HuggingFace(values, tokenizer=sentencepiece([("", NORMAL)]))
    refused(source.write(tmp_path / "b")).match("piece")


def test_unigram_vocabularies_are_not_taken_for_bpe(tmp_path: Path) -> None:
    source = HuggingFace(tokenizer=replace(sentencepiece(), model_type="unigram"))
    refused(source.write(tmp_path / "m")).match("unigram vocabulary")


def test_a_template_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = HuggingFace().write(tmp_path / "m")
    (folder / "chat_template.jinja").write_bytes(b"\xff\xfe")
    assert refused(folder).type is FormatError


SMALL_FILES = (
    "config.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "generation_config.json", "chat_template.jinja",
)  # fmt: skip


@pytest.mark.parametrize("name", SMALL_FILES)
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_link_to_a_device_does_not_hang(name: str, tmp_path: Path) -> None:
    folder = HuggingFace().write(tmp_path / "m")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to("/dev/zero")
    refused(folder).match(f"{name}: expected a regular file, found a device")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_does_not_hang(tmp_path: Path) -> None:
    folder = HuggingFace().write(tmp_path / "m")
    os.mkfifo(folder / "chat_template.jinja")
    refused(folder).match("found a named pipe")


@pytest.mark.parametrize("name", ["x.gguf", "x.safetensors", "x.pth", "x.txt"])
def test_other_files_are_refused_with_a_hint(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert refused(tmp_path / name).type is ConfigError
    assert refused(tmp_path / "absent").type is ConfigError


def test_options_are_checked_before_the_source(tmp_path: Path) -> None:
    folder = HuggingFace().write(tmp_path / "m")
    refused(folder, outtype="q4_k_x").match("did you mean")
    refused(folder, tokenizer=tmp_path / "tok.bin").match("--tokenizer")


def test_a_source_is_never_written_over(tmp_path: Path) -> None:
    folder = HuggingFace().write(tmp_path / "m")
    before = (folder / "model.safetensors").read_bytes()
    for name in (*SMALL_FILES, "model.safetensors"):
        if not (folder / name).exists():
            (folder / name).write_text("x" if name.endswith("jinja") else "{}")
    for out in (folder / name for name in (*SMALL_FILES, "model.safetensors")):
        with pytest.raises(ConfigError, match="replace its own input"):
            convert_checkpoint(folder, out)
    assert (folder / "model.safetensors").read_bytes() == before
    folder = HuggingFace().write(tmp_path / "shards", n_shards=2)
    with pytest.raises(ConfigError, match="replace its own input"):
        convert_checkpoint(folder, folder / INDEX)


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    folder = HuggingFace().write(tmp_path / "m")

    def stop(name: str, n_done: int, n_total: int) -> None:
        del n_total
        if name == "blk.1.ffn_up.weight":
            raise KeyboardInterrupt(n_done)

    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        convert_checkpoint(folder, out / "x.gguf", progress=stop)
    assert not list(out.iterdir())
