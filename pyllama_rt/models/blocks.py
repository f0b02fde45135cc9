"""Parts that more than one architecture is built of."""

from __future__ import annotations

from typing import Any

from pyllama_rt.graph.builder import Graph, GraphBuilder, Value
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.rope import Rope


def linear(g: GraphBuilder, x: Value, name: str, width: int) -> Value:
    """`linear` with the weight `name.weight`, and the bias `name.bias` where the file has one."""
    bias = f"{name}.bias"
    return g.linear(x, f"{name}.weight", width, bias if g.has(bias) else None)


def layer_norm(g: GraphBuilder, x: Value, name: str, eps: float) -> Value:
    """`layer_norm` with `name.weight`, and `name.bias` where the file has one."""
    bias = f"{name}.bias"
    return g.layer_norm(x, f"{name}.weight", bias if g.has(bias) else None, eps)


def rope_table(g: GraphBuilder, rope: Rope | None) -> Value:
    """Cosines and sines of a step's positions, with the divisors that the file holds."""
    if rope is None:
        raise TypeError("rope_table: the config has no rotary positions")
    length = "long" if rope.is_long else "short"
    names = ("rope_freqs.weight", f"rope_factors_{length}.weight")
    found = [name for name in names if g.has(name) and rope.keeps_divisors]
    return g.rope_table(rope.frequencies(), found[0] if found else None, rope.full_magnitude())


def queries_keys_values(
    g: GraphBuilder, x: Value, prefix: str, cfg: TransformerConfig, layer: int
) -> tuple[Value, Value, Value]:
    """Queries, keys and values, from one matrix or from three."""
    q, kv = (n[layer] * cfg.head_dim for n in (cfg.n_heads, cfg.n_kv_heads))
    if not g.has(f"{prefix}.attn_qkv.weight"):
        parts = (("attn_q", q), ("attn_k", kv), ("attn_v", kv))
        one, two, three = (linear(g, x, f"{prefix}.{name}", width) for name, width in parts)
        return one, two, three
    whole = linear(g, x, f"{prefix}.attn_qkv", q + 2 * kv)
    return g.slice(whole, 0, q), g.slice(whole, q, kv), g.slice(whole, q + kv, kv)


def attention(
    g: GraphBuilder,
    x: Value,
    cfg: TransformerConfig,
    layer: int,
    *,
    table: Value | None = None,
    pairing: str = "half",
    head_norms: bool = False,
) -> Value:
    """Grouped-query self-attention of one layer: (n, dim) to (n, dim).

    Args: table: of rotary positions, None where positions are learned. pairing: as in `rope`.
        head_norms: whether queries and keys are normed head by head.
    Source: arXiv:2305.13245 (grouped queries).
    """
    prefix = f"blk.{layer}"
    sizes: dict[str, Any] = {
        "n_heads": cfg.n_heads[layer],
        "n_kv_heads": cfg.n_kv_heads[layer],
        "head_dim": cfg.head_dim,
    }
    q, k, v = queries_keys_values(g, x, prefix, cfg, layer)

    def turned(value: Value, role: str, n_heads: int) -> Value:
        if head_norms:
            value = g.rms_norm(value, f"{prefix}.attn_{role}_norm.weight", cfg.norm_eps, n_heads)
        if table is None:
            return value
        return g.rope(value, table, n_heads=n_heads, head_dim=cfg.head_dim, pairing=pairing)

    mixed = g.attention(
        turned(q, "q", sizes["n_heads"]), turned(k, "k", sizes["n_kv_heads"]), v, **sizes,
        scale=cfg.attention_scale(), window=cfg.window(layer), softcap=cfg.attn_softcap,
        causal=cfg.causal,
    )  # fmt: skip
    return linear(g, mixed, f"{prefix}.attn_output", cfg.dim)


def gated_mlp(
    g: GraphBuilder, x: Value, cfg: TransformerConfig, layer: int, activation: str = "silu"
) -> Value:
    """down(activation(gate(x)) * up(x)): (n, dim) to (n, dim). Gate and up may be one matrix."""
    prefix, hidden = f"blk.{layer}", cfg.hidden_dim[layer]
    multiply = {"silu": g.silu_mul, "gelu": g.gelu_mul}[activation]
    if g.has(f"{prefix}.ffn_gate.weight"):
        gate = linear(g, x, f"{prefix}.ffn_gate", hidden)
        up = linear(g, x, f"{prefix}.ffn_up", hidden)
    else:
        both = linear(g, x, f"{prefix}.ffn_up", 2 * hidden)
        gate, up = g.slice(both, 0, hidden), g.slice(both, hidden, hidden)
    return linear(g, multiply(gate, up), f"{prefix}.ffn_down", x.width)


def mlp(g: GraphBuilder, x: Value, cfg: TransformerConfig, layer: int, form: str) -> Value:
    """down(gelu(up(x))): (n, dim) to (n, dim). form: as in `gelu`."""
    prefix = f"blk.{layer}"
    up = linear(g, x, f"{prefix}.ffn_up", cfg.hidden_dim[layer])
    return linear(g, g.gelu(up, form), f"{prefix}.ffn_down", x.width)


def expert_mlp(g: GraphBuilder, x: Value, cfg: TransformerConfig, layer: int) -> Value:
    """The gated MLPs of the experts that a router chooses for each row: (n, dim) to (n, dim).

    Source: arXiv:2401.04088, section 2.1.
    """
    prefix, experts = f"blk.{layer}", cfg.experts
    if experts is None:
        return gated_mlp(g, x, cfg, layer)
    logits = g.linear(x, f"{prefix}.ffn_gate_inp.weight", experts.n)
    route = g.topk_route(logits, experts.n_used, norm=experts.norm)

    def linears(value: Value, role: str, width: int, *, shared: bool) -> Value:
        name = f"{prefix}.ffn_{role}_exps.weight"
        return g.expert_linear(value, route, name, n_experts=experts.n, width=width, shared=shared)

    gate = linears(x, "gate", experts.hidden_dim, shared=True)
    up = linears(x, "up", experts.hidden_dim, shared=True)
    down = linears(g.silu_mul(gate, up), "down", cfg.dim, shared=False)
    return g.expert_sum(down, route)


def head(g: GraphBuilder, x: Value, cfg: TransformerConfig) -> Value:
    """Logits of normed rows; the head is the embedding where the file has no other."""
    name = "output.weight" if g.has("output.weight") else "token_embd.weight"
    return g.linear(x, name, cfg.vocab_size)


def finished(g: GraphBuilder) -> Graph:
    """The graph; a file may hold divisors that the rotation chosen does not want."""
    names = ("rope_freqs", "rope_factors_short", "rope_factors_long")
    return g.build(ignored=tuple(f"{name}.weight" for name in names))
