"""Qwen2: LLaMA with biases of queries, keys and values, and halves that rotate.

Source: arXiv:2407.10671, section 2.2.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pyllama_rt.graph.builder import Graph, GraphBuilder
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models import blocks, gguf_config, hf_config, tables
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.registry import Architecture, register

TENSORS = (
    *tables.ends(),
    *tables.norms(tables.PRE_NORMS),
    *tables.attention(),
    *tables.gated_mlp(),
)
HF_KEYS = hf_config.COMMON_KEYS


def from_hf(r: MetadataReader) -> TransformerConfig:
    """The config in a config.json; a window has to be switched on."""
    cfg = hf_config.read_config(r)
    if not r.get_bool("use_sliding_window", False):
        return cfg
    window, first = r.get_int("sliding_window", 4096), r.get_int("max_window_layers", 28)
    usual = tuple(window if i >= first else 0 for i in range(cfg.n_layers))
    return replace(cfg, windows=hf_config.layer_windows(r, usual) if any(usual) else ())


def build(cfg: TransformerConfig, g: GraphBuilder, *, head_norms: bool = False) -> Graph:
    """The graph; head_norms: whether queries and keys are normed head by head."""
    table = blocks.rope_table(g, cfg.rope)
    x = g.embed("token_embd.weight", cfg.vocab_size, cfg.dim)  # (n, dim)
    for i in range(cfg.n_layers):
        normed = g.rms_norm(x, f"blk.{i}.attn_norm.weight", cfg.norm_eps)
        x = g.add(x, blocks.attention(g, normed, cfg, i, table=table, head_norms=head_norms))
        normed = g.rms_norm(x, f"blk.{i}.ffn_norm.weight", cfg.norm_eps)
        x = g.add(x, blocks.expert_mlp(g, normed, cfg, i))  # (n, dim)
    x = g.rms_norm(g.output_rows(x), "output_norm.weight", cfg.norm_eps)  # (m, dim)
    blocks.head(g, x, cfg)  # (m, vocab)
    return blocks.finished(g)


register(
    Architecture(
        name="qwen2",
        hf_names=("Qwen2ForCausalLM",),
        from_gguf=partial(gguf_config.read_config, arch="qwen2"),
        from_hf=from_hf,
        hf_keys=HF_KEYS,
        metadata=partial(gguf_config.config_keys, arch="qwen2"),
        tensors=lambda _: TENSORS,
        build=build,
    )
)
