"""Files whose weights have types that are no mix's choice."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_llama import write_tiny_llama

from pyllama_rt.convert import plan_file, quantize_file
from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.gguf import GgufFile

TYPES = ("q2_k", "q3_k", "q3_k", "q3_k", "iq4_nl", "q8_0")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "in.gguf", "f16").path


def chosen(source: Path) -> dict[str, str]:
    weights = [t.name for t in plan_file(source, "q8_0").tensors if len(t.shape) == 2]
    return {name: TYPES[i % len(TYPES)] for i, name in enumerate(weights)}


def test_every_weight_gets_its_type(source: Path, tmp_path: Path) -> None:
    types, out = chosen(source), tmp_path / "out.gguf"
    plan = quantize_file(source, out, types, tensor_types=["blk.1.attn_v=q6_k"])
    assert plan == plan_file(source, types, tensor_types=["blk.1.attn_v=q6_k"])
    with GgufFile.open(out) as file:
        found = {name: file.tensors[name].type.name for name in types}
        assert file.get_int("general.file_type") == 12  # of q3_k, which holds most weights
    assert found == {**types, "blk.1.attn_v.weight": "q6_k"}
    assert plan.mix.name == "types by choice"


@pytest.mark.parametrize("wrong", [None, "q9", "i32"])
def test_a_weight_without_a_type_is_told(wrong: str | None, source: Path, tmp_path: Path) -> None:
    types = chosen(source)
    del types["output.weight"]
    if wrong is not None:
        types["output.weight"] = wrong
    with pytest.raises(ConfigError, match=r"expected one of .* for output\.weight"):
        quantize_file(source, tmp_path / "out.gguf", types)
    assert not (tmp_path / "out.gguf").exists()
