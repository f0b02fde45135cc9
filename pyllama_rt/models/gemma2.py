"""Gemma 2: norms before and after each part, GEGLU, capped scores and logits, every other layer
with a window, and an embedding times sqrt(dim). Source: arXiv:2408.00118, section 2.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from pyllama_rt.errors import UnsupportedError
from pyllama_rt.graph.builder import Graph, GraphBuilder, Value
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models import blocks, gguf_config, hf_config, reading, tables
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.registry import Architecture, register

NORMS = (
    ("attn_norm", "input_layernorm"),
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
)
TENSORS = (
    *tables.ends("plus_one"),
    *tables.norms(NORMS, "plus_one"),
    *tables.attention(),
    *tables.gated_mlp(),
)
GELU = ("gelu_pytorch_tanh", "gelu")
"""Names of its activation; "gelu" in the first configs means the same."""

_LAYERS_27B = 46


def every_nth_full(window: int, n_layers: int, n: int) -> tuple[int, ...]:
    """Windows of the layers, of which every n-th sees all."""
    reading.check_count("sliding_window_pattern", n, 1, reading.MAX_LAYERS)
    return tuple(0 if i % n == n - 1 else window for i in range(n_layers))


def hf_query_scale(r: MetadataReader, cfg: TransformerConfig) -> float:
    """What config.json scales scores by."""
    scalar = r.get_float("query_pre_attn_scalar", float(cfg.head_dim))
    return 1 / math.sqrt(reading.check_positive("query_pre_attn_scalar", scalar))


def gguf_query_scale(cfg: TransformerConfig, n_layers_27b: int) -> float:
    """GGUF does not tell it: the model of 27 B parameters takes dim / heads, others head_dim."""
    width = cfg.dim / cfg.n_heads[0] if cfg.n_layers == n_layers_27b else cfg.head_dim
    return 1 / math.sqrt(width)


def from_gguf(r: MetadataReader) -> TransformerConfig:
    """The config in GGUF metadata."""
    cfg = gguf_config.read_config(r, "gemma2")
    window = r.get_int("gemma2.attention.sliding_window", 4096)
    return replace(
        cfg,
        windows=every_nth_full(window, cfg.n_layers, 2),
        attn_softcap=r.get_float("gemma2.attn_logit_softcapping", 50.0),
        final_softcap=r.get_float("gemma2.final_logit_softcapping", 30.0),
        query_scale=gguf_query_scale(cfg, _LAYERS_27B),
    )


def from_hf(r: MetadataReader) -> TransformerConfig:
    """The config in a config.json."""
    names = hf_config.HfNames(activation="hidden_activation")
    cfg = hf_config.read_config(r, names, activations=GELU)
    return replace(
        cfg,
        windows=hf_config.layer_windows(r, every_nth_full(_hf_window(r), cfg.n_layers, 2)),
        attn_softcap=r.get_float("attn_logit_softcapping", 0.0),
        final_softcap=r.get_float("final_logit_softcapping", 0.0),
        query_scale=hf_query_scale(r, cfg),
    )


def _hf_window(r: MetadataReader) -> int:
    """The window; some files name it twice."""
    window = r.get_int("sliding_window", 4096)
    if r.get_int("sliding_window_size", window) != window:
        raise UnsupportedError("sliding_window_size: expected the same as sliding_window")
    return window


def metadata(cfg: TransformerConfig) -> dict[str, Any]:
    """The config as GGUF keys."""
    return {
        **gguf_config.config_keys(cfg, "gemma2"),
        "gemma2.attn_logit_softcapping": cfg.attn_softcap,
        "gemma2.final_logit_softcapping": cfg.final_softcap,
    }


def block(
    g: GraphBuilder, x: Value, cfg: TransformerConfig, i: int, table: Value, **attention: Any
) -> Value:
    """One layer, with norms on both sides of each part: (n, dim) to (n, dim)."""
    normed = g.rms_norm(x, f"blk.{i}.attn_norm.weight", cfg.norm_eps)
    mixed = blocks.attention(g, normed, cfg, i, table=table, **attention)
    x = g.add(x, g.rms_norm(mixed, f"blk.{i}.post_attention_norm.weight", cfg.norm_eps))
    normed = g.rms_norm(x, f"blk.{i}.ffn_norm.weight", cfg.norm_eps)
    wide = blocks.gated_mlp(g, normed, cfg, i, "gelu")
    return g.add(x, g.rms_norm(wide, f"blk.{i}.post_ffw_norm.weight", cfg.norm_eps))


def build(cfg: TransformerConfig, g: GraphBuilder, **attention: Any) -> Graph:
    """The graph; attention: choices of `blocks.attention`."""
    everywhere = nearby = blocks.rope_table(g, cfg.rope)
    if cfg.local_rope is not None:
        nearby = blocks.rope_table(g, cfg.local_rope)
    x = g.embed("token_embd.weight", cfg.vocab_size, cfg.dim)
    x = g.scale(x, math.sqrt(cfg.dim))  # (n, dim)
    for i in range(cfg.n_layers):
        x = block(g, x, cfg, i, nearby if cfg.window(i) else everywhere, **attention)
    x = g.rms_norm(g.output_rows(x), "output_norm.weight", cfg.norm_eps)  # (m, dim)
    logits = blocks.head(g, x, cfg)  # (m, vocab)
    if cfg.final_softcap:
        g.softcap(logits, cfg.final_softcap)
    return blocks.finished(g)


register(
    Architecture(
        name="gemma2",
        hf_names=("Gemma2ForCausalLM",),
        from_gguf=from_gguf,
        from_hf=from_hf,
        hf_keys=hf_config.COMMON_KEYS
        | {
            "hidden_activation", "attn_logit_softcapping", "final_logit_softcapping",
            "query_pre_attn_scalar", "sliding_window_size",
        },
        metadata=metadata,
        tensors=lambda _: TENSORS,
        build=build,
    )
)  # fmt: skip
