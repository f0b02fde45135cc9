"""Adapters over every family: transposed matrices, stacked experts, fused ones, shifted norms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from adapters import PREFIX, Peft, family_adapter
from checkpoints import Arrays, HuggingFace
from families import FAMILIES, weights

from pyllama_rt.convert import convert_adapter, convert_checkpoint, merge_adapters
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.quant import dequantize

CHOSEN = ("llama", "mixtral", "gemma2", "phi3-long", "gpt2", "bert")
"""One with each thing that may happen to a tensor on its way to GGUF."""


def read_gguf(path: Path) -> Arrays:
    with GgufFile.open(path) as file:
        return {
            name: dequantize(bytes(file.tensor_data(name)), info.type.name, info.shape)
            for name, info in file.tensors.items()
        }


def check(path: Path, expected: Arrays) -> None:
    found = read_gguf(path)
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape
        assert np.abs(found[name] - array).max() < 1e-5, name


@pytest.mark.parametrize("name", CHOSEN)
def test_every_way_of_merging_gives_the_same(name: str, tmp_path: Path) -> None:
    values = FAMILIES[name]
    before = weights(values)
    lora, after = family_adapter(name, before)
    base = HuggingFace(values, before, "F32").write(tmp_path / "base")
    folder = lora.write(tmp_path / "lora")
    convert_checkpoint(base, tmp_path / "base.gguf", outtype="f32")
    convert_adapter(folder, base, tmp_path / "lora.gguf")
    wanted = HuggingFace(values, after, "F32").write(tmp_path / "wanted")
    convert_checkpoint(wanted, tmp_path / "wanted.gguf", outtype="f32")
    expected = read_gguf(tmp_path / "wanted.gguf")
    for number, source in enumerate((base, tmp_path / "base.gguf")):
        for kind, path in (("folder", folder), ("file", tmp_path / "lora.gguf")):
            out = tmp_path / f"{number}-{kind}.gguf"
            merge_adapters(source, [path], out, outtype="f32")
            check(out, expected)
    for kind, path in (("folder", folder), ("file", tmp_path / "lora.gguf")):
        merge_adapters(base, [path], tmp_path / kind)
        convert_checkpoint(tmp_path / kind, tmp_path / f"{kind}.gguf", outtype="f32")
        check(tmp_path / f"{kind}.gguf", expected)


def test_experts_become_one_pair(tmp_path: Path) -> None:
    values = FAMILIES["qwen3moe"]
    lora, _ = family_adapter("qwen3moe", weights(values))
    base = HuggingFace(values, weights(values), "F32").write(tmp_path / "base")
    convert_adapter(lora.write(tmp_path / "lora"), base, tmp_path / "lora.gguf")
    found = read_gguf(tmp_path / "lora.gguf")
    b = found["blk.0.ffn_up_exps.weight.lora_b"]
    assert (b.shape[0], b.shape[2]) == (values["num_experts"], 4)
    assert not b[1].any()
    assert b[0].any()


@pytest.mark.parametrize("name", ["gemma2", "gpt2", "llama"])
def test_whole_tensors_are_changed_on_their_way(name: str, tmp_path: Path) -> None:
    values = FAMILIES[name]
    after = weights(values)
    norm, matrix = {
        "gpt2": ("ln_f.weight", "h.0.mlp.c_fc.weight"),
    }.get(name, ("model.norm.weight", "model.layers.0.self_attn.q_proj.weight"))
    base = HuggingFace(values, weights(values), "F32").write(tmp_path / "base")
    rng = np.random.default_rng(6)
    lora = Peft(arrays={})
    for tensor in (norm, matrix):
        after[tensor] = rng.standard_normal(after[tensor].shape, dtype=np.float32)
        lora.arrays[PREFIX + tensor] = after[tensor]
    wanted = HuggingFace(values, after, "F32").write(tmp_path / "wanted")
    convert_checkpoint(wanted, tmp_path / "wanted.gguf", outtype="f32")
    folder = lora.write(tmp_path / "lora")
    merge_adapters(base, [folder], tmp_path / "x.gguf", outtype="f32")
    check(tmp_path / "x.gguf", read_gguf(tmp_path / "wanted.gguf"))
    merge_adapters(base, [folder], tmp_path / "folder")
    convert_checkpoint(tmp_path / "folder", tmp_path / "y.gguf", outtype="f32")
    check(tmp_path / "y.gguf", read_gguf(tmp_path / "wanted.gguf"))
