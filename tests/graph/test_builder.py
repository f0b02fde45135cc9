"""Graphs as data: checks while building, and the text form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyllama_rt.errors import FormatError, ShapeError
from pyllama_rt.graph.builder import GraphBuilder
from pyllama_rt.graph.ops import OPS
from pyllama_rt.graph.reference import TWINS

SHAPES = {"embd": (10, 8), "norm": (8,), "w": (6, 8), "w.bias": (6,)}


def builder() -> GraphBuilder:
    return GraphBuilder(SHAPES, source="m.gguf")


def test_text_form() -> None:
    g = builder()
    x = g.rms_norm(g.embed("embd", 10, 8), "norm", 1e-05)
    g.linear(g.output_rows(x), "w", 6, "w.bias")
    assert g.build().to_text() == (
        "plrt-graph 1\n"
        "%0 = embed @embd -> n 8\n"
        "%1 = rms_norm %0 @norm eps=1e-05 -> n 8\n"
        "%2 = output_rows %1 -> m 8\n"
        "%3 = linear %2 @w @w.bias -> m 6\n"
    )


def test_an_absent_optional_weight_and_words_in_the_text_form() -> None:
    g = builder()
    x = g.embed("embd", 10, 8)
    table = g.rope_table([1.0, 0.01])
    g.rope(x, table, n_heads=2, head_dim=4, pairing="half")
    lines = g.build(ignored=("norm", "w", "w.bias")).to_text().splitlines()
    assert lines[2] == "%1 = rope_table @- dims=4 frequencies=1.0,0.01 -> n 4"
    assert lines[3] == "%2 = rope %0 %1 n_heads=2 head_dim=4 dims=4 pairing=half -> n 8"


def test_a_weight_of_another_shape_names_both_shapes() -> None:
    with pytest.raises(FormatError, match=re.escape("expected (7, 8), found (6, 8)")):
        builder().linear(builder().embed("embd", 10, 8), "w", 7)


def test_a_missing_weight_names_the_nearest() -> None:
    with pytest.raises(FormatError, match=r"m.gguf: tensor 'embed' is missing .*'embd'"):
        builder().embed("embed", 10, 8)


def test_tensors_that_no_node_uses_are_an_error() -> None:
    g = builder()
    g.embed("embd", 10, 8)
    with pytest.raises(FormatError, match="3 tensors that this architecture does not have"):
        g.build()


def test_widths_have_to_fit() -> None:
    g = builder()
    x = g.embed("embd", 10, 8)
    y = g.linear(x, "w", 6)
    with pytest.raises(ShapeError, match="equal widths, found 8 and 6"):
        g.add(x, y)
    with pytest.raises(ShapeError, match="found 8"):
        g.rope(x, g.rope_table([1.0, 0.01]), n_heads=3, head_dim=4, pairing="half")
    with pytest.raises(ShapeError, match="attention"):
        g.attention(x, y, y, n_heads=2, n_kv_heads=2, head_dim=4, scale=1.0)


def test_every_op_has_one_word_everywhere() -> None:
    root = Path(__file__).resolve().parents[2]
    rows = re.findall(r"^PLRT_OP\((\w+)", (root / "csrc/graph/ops.def").read_text(), re.MULTILINE)
    assert rows == list(OPS)
    for name in rows:
        assert name in TWINS
        assert callable(getattr(GraphBuilder, name))
        assert (root / f"csrc/backends/cpu/{name}.cpp").is_file()
