"""The types that weights may take, and the sizes of files that come of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoints import config
from gguf_craft import tiny_llama
from tiny_llama import write_tiny_llama

from pyllama_rt.convert import quantize_file
from pyllama_rt.convert.type_options import BLOCK_TYPES, read_type_options
from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter


@pytest.mark.parametrize("kind", ["smallest", "largest"])
@pytest.mark.parametrize("alignment", [32, 4096])
def test_sizes_are_those_of_the_file_to_the_byte(kind: str, alignment: int, tmp_path: Path) -> None:
    tiny = write_tiny_llama(tmp_path / "tiny.gguf", "f16").path
    source, out = tmp_path / "in.gguf", tmp_path / "out.gguf"
    with GgufFile.open(tiny) as file, GgufWriter(source, alignment=alignment) as writer:
        for key in file.metadata:
            writer.copy(file.metadata, key)
        for name, info in file.tensors.items():
            writer.declare(name, info.shape, info.type)
        for name in file.tensors:
            writer.write_tensor(name, file.tensor_data(name))
    options = read_type_options(source)
    pick = min if kind == "smallest" else max
    types = {n: pick(sizes, key=lambda t: sizes[t]) for n, sizes in options.weights.items()}
    plan = quantize_file(source, out, types)
    weights = sum(options.weights[name][type_name] for name, type_name in types.items())
    assert out.stat().st_size == options.rest_bytes + weights
    assert options.n_elements == sum(t.n_elements for t in plan.tensors)
    others = [t for t in plan.tensors if t.name not in options.weights]
    assert options.rest_data == sum(t.n_bytes for t in others) > 0
    if kind == "smallest":
        assert weights == options.least


@pytest.mark.parametrize("stored", ["f16", "bf16", "f32"])
def test_what_may_be_chosen(stored: str, tmp_path: Path) -> None:
    source = write_tiny_llama(tmp_path / "in.gguf", stored).path
    weights = read_type_options(source, tensor_types=["attn_v=q5_1"]).weights
    floats = {"f16", "f32"} if stored == "f32" else {stored}
    assert set(weights["blk.0.attn_q.weight"]) == {*BLOCK_TYPES, *floats}
    assert set(weights["blk.1.attn_v.weight"]) == {"q5_1"}
    assert not any("norm" in name for name in weights)


def test_rows_of_broken_blocks_have_their_own_options(tmp_path: Path) -> None:
    source = tmp_path / "in.gguf"
    source.write_bytes(tiny_llama().build())
    sizes = read_type_options(source, allow_requantize=True).weights["blk.0.attn_q.weight"]
    assert set(sizes) == {"q4_0", "iq4_nl", "q5_0", "q5_1", "q8_0", "f32", "f16"}


@pytest.mark.parametrize("stored", [BLOCK_TYPES[0], "q4_0", BLOCK_TYPES[-1]])
def test_what_is_quantised_already_is_refused(stored: str, tmp_path: Path) -> None:
    source = write_tiny_llama(tmp_path / "in.gguf", stored).path
    with pytest.raises(ConfigError, match="--allow-requantize"):
        read_type_options(source)
    weights = read_type_options(source, allow_requantize=True).weights
    assert set(weights["output.weight"]) == {*BLOCK_TYPES, stored}


def test_a_config_has_no_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config()))
    with pytest.raises(ConfigError, match="expected a GGUF file"):
        read_type_options(tmp_path / "config.json")
