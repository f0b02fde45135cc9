"""Parts that more than one architecture is built of."""

from __future__ import annotations

import math

from pyllama_rt.graph.builder import GraphBuilder, Value


def linear(g: GraphBuilder, x: Value, name: str, width: int) -> Value:
    """`linear` with the weight `name.weight`, and the bias `name.bias` where the file has one."""
    bias = f"{name}.bias"
    return g.linear(x, f"{name}.weight", width, bias if g.has(bias) else None)


def attention(
    g: GraphBuilder,
    x: Value,
    table: Value,
    prefix: str,
    *,
    n_heads: int,
    n_kv_heads: int,
    head_dim: int,
    pairing: str,
) -> Value:
    """Grouped-query self-attention with rotary positions: (n, dim) to (n, dim).

    Source: arXiv:2305.13245 (grouped queries).
    """
    dim = x.width
    q = linear(g, x, f"{prefix}.attn_q", n_heads * head_dim)
    k = linear(g, x, f"{prefix}.attn_k", n_kv_heads * head_dim)
    v = linear(g, x, f"{prefix}.attn_v", n_kv_heads * head_dim)
    q = g.rope(q, table, n_heads=n_heads, head_dim=head_dim, pairing=pairing)
    k = g.rope(k, table, n_heads=n_kv_heads, head_dim=head_dim, pairing=pairing)
    mixed = g.attention(
        q, k, v,
        n_heads=n_heads, n_kv_heads=n_kv_heads, head_dim=head_dim, scale=1 / math.sqrt(head_dim),
    )  # fmt: skip
    return linear(g, mixed, f"{prefix}.attn_output", dim)


def gated_mlp(g: GraphBuilder, x: Value, prefix: str, hidden_dim: int) -> Value:
    """down(silu(gate(x)) * up(x)): (n, dim) to (n, dim)."""
    gate = linear(g, x, f"{prefix}.ffn_gate", hidden_dim)
    up = linear(g, x, f"{prefix}.ffn_up", hidden_dim)
    return linear(g, g.silu_mul(gate, up), f"{prefix}.ffn_down", x.width)
