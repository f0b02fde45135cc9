"""Graphs around the ops that only some families of models use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from one_op import OneOp, normal

from pyllama_rt.graph.builder import GraphBuilder, Value

WIDTHS = (1, 3, 15, 16, 17, 64, 172)


def norms() -> Iterator[tuple[str, OneOp]]:
    for width in WIDTHS:
        x = (normal((4, width)) + np.float32(0.5)) * np.array(
            [[1], [1e-3], [1e3], [30]], np.float32
        )
        weights = {"w": (normal((width,), 1), "f32"), "b": (normal((width,), 2), "f32")}
        yield (
            f"layer_norm: {width}",
            OneOp([x], lambda g, v: g.layer_norm(v[0], "w", "b", 1e-5), dict(weights)),
        )
        del weights["b"]
        yield (
            f"layer_norm without bias: {width}",
            OneOp([x], lambda g, v: g.layer_norm(v[0], "w", None, 1e-5), weights),
        )
        yield (
            f"rms_norm of 3 groups: {width}",
            OneOp([normal((4, 3 * width))], lambda g, v: g.rms_norm(v[0], "w", 1e-5, 3), weights),
        )


def activations() -> Iterator[tuple[str, OneOp]]:
    for width in WIDTHS:
        x = 6 * normal((6, width))
        x[0], x[1], x[2], x[3] = -200, 200, 0, np.linspace(-0.01, 0.01, width)
        for form in ("tanh", "erf"):
            yield f"gelu {form}: {width}", OneOp([x], _gelu(form), {})
        yield (
            f"gelu_mul: {width}",
            OneOp([x, normal((6, width), 1)], lambda g, v: g.gelu_mul(v[0], v[1]), {}),
        )
        yield f"softcap: {width}", OneOp([x], lambda g, v: g.softcap(v[0], 5.0), {})
        yield f"scale: {width}", OneOp([x], lambda g, v: g.scale(v[0], 0.3), {})


def _gelu(form: str) -> Any:
    return lambda g, v: g.gelu(v[0], form)


def rows() -> Iterator[tuple[str, OneOp]]:
    table = {"table": (normal((9, 40), 1), "f16")}
    yield (
        "embed_positions",
        OneOp(
            [normal((9, 40))],
            lambda g, v: g.add(v[0], g.embed_positions("table", 9, 40)),
            table,
        ),
    )
    yield "add_row", OneOp([normal((5, 40))], lambda g, v: g.add_row(v[0], "table", 9, 4), table)
    yield "slice", OneOp([normal((5, 40))], lambda g, v: g.slice(v[0], 7, 21), {})


def one_expert_mlp(kind: str, n_rows: int, norm: bool = True) -> OneOp:
    """Three of seven experts for each row: a shared and an own product, and their sum."""
    width, k = 33, 256
    weights = {
        "up": (normal((7, k, k), 1), kind),
        "down": (normal((7, width, k), 2), kind),
        "router": (normal((7, k), 3) / np.float32(8), "f32"),
    }

    def build(g: GraphBuilder, v: list[Value]) -> Value:
        route = g.topk_route(g.linear(v[0], "router", 7), 3, norm=norm)
        up = g.expert_linear(v[0], route, "up", n_experts=7, width=k, shared=True)
        down = g.expert_linear(up, route, "down", n_experts=7, width=width, shared=False)
        return g.expert_sum(down, route)

    return OneOp([normal((n_rows, k))], build, weights)


def experts() -> Iterator[tuple[str, OneOp]]:
    for kind in ("f32", "bf16", "q8_0", "q4_k"):
        for n_rows in (1, 2, 19):
            yield f"experts {kind}: {n_rows} rows", one_expert_mlp(kind, n_rows, n_rows != 2)


def special_attention(head_dim: int, n_rows: int, **choices: Any) -> OneOp:
    """Attention with a window, a cap, or in both directions."""

    def build(g: GraphBuilder, v: list[Value]) -> Value:
        return g.attention(
            v[0], v[1], v[2], n_heads=6, n_kv_heads=2, head_dim=head_dim, scale=head_dim**-0.5,
            **choices,
        )  # fmt: skip

    widths = (6 * head_dim, 2 * head_dim, 2 * head_dim)
    inputs = [2 * normal((n_rows, width), i) for i, width in enumerate(widths)]
    return OneOp(inputs, build, {})


CHOICES: list[dict[str, Any]] = [
    {"window": 1},
    {"window": 7},
    {"window": 64},
    {"window": 100, "softcap": 2.0},
    {"softcap": 2.0},
    {"causal": False},
]


def attentions() -> Iterator[tuple[str, OneOp]]:
    for choices in CHOICES:
        for head_dim, n_rows in ((8, 5), (24, 64), (80, 200)):
            words = ", ".join(f"{key} {value}" for key, value in choices.items())
            yield f"attention of {n_rows}: {words}", special_attention(head_dim, n_rows, **choices)


def all_family_ops() -> Iterator[tuple[str, OneOp]]:
    for part in (norms, activations, rows, experts, attentions):
        yield from part()
