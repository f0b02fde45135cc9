"""LLaMA: pre-norm blocks, RMSNorm, rotary positions, grouped-query attention, SwiGLU.

Also what is published under other names with the same tensors: LLaMA 2 to 3.2, Code Llama, Vicuna,
Chinese-LLaMA/Alpaca, TinyLlama, llama2.c, Mistral (with a window), Mixtral (with experts).
Source: arXiv:2302.13971, section 2.2; arXiv:2307.09288, appendix A.2; arXiv:2310.06825, section 2;
arXiv:2401.04088, section 2.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pyllama_rt.errors import UnsupportedError
from pyllama_rt.graph.builder import Graph, GraphBuilder
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models import blocks, gguf_config, hf_config, tables
from pyllama_rt.models.config import Experts, TransformerConfig
from pyllama_rt.models.registry import Architecture, register

SHARED_TENSORS = (
    *tables.ends(),
    *tables.norms(tables.PRE_NORMS),
    *tables.attention(interleave=True),
)
TENSORS = (*SHARED_TENSORS, *tables.gated_mlp())
EXPERT_TENSORS = (
    *SHARED_TENSORS,
    *tables.experts("block_sparse_moe.gate", "block_sparse_moe.experts.{e}", "w1", "w3", "w2"),
)


def from_hf(r: MetadataReader) -> TransformerConfig:
    """The config in a config.json."""
    cfg = hf_config.read_config(r)
    if cfg.rope is None or cfg.rope.dims != cfg.head_dim:
        raise UnsupportedError("partial_rotary_factor: only whole heads that rotate are supported")
    n = r.get_int("num_local_experts", 0)
    experts = Experts(n, r.get_int("num_experts_per_tok"), cfg.hidden_dim[0]) if n else None
    return replace(cfg, windows=hf_config.read_window(r, cfg.n_layers), experts=experts)


def build(cfg: TransformerConfig, g: GraphBuilder) -> Graph:
    """The graph; n is the rows of a step, m the rows that asked for logits."""
    table = blocks.rope_table(g, cfg.rope)
    x = g.embed("token_embd.weight", cfg.vocab_size, cfg.dim)  # (n, dim)
    for i in range(cfg.n_layers):
        normed = g.rms_norm(x, f"blk.{i}.attn_norm.weight", cfg.norm_eps)
        mixed = blocks.attention(g, normed, cfg, i, table=table, pairing="interleaved")
        x = g.add(x, mixed)  # (n, dim)
        normed = g.rms_norm(x, f"blk.{i}.ffn_norm.weight", cfg.norm_eps)
        x = g.add(x, blocks.expert_mlp(g, normed, cfg, i))  # (n, dim)
    x = g.rms_norm(g.output_rows(x), "output_norm.weight", cfg.norm_eps)  # (m, dim)
    blocks.head(g, x, cfg)  # (m, vocab)
    return blocks.finished(g)


register(
    Architecture(
        name="llama",
        hf_names=(
            "LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM", "MixtralForCausalLM",
        ),
        from_gguf=partial(gguf_config.read_config, arch="llama"),
        from_hf=from_hf,
        hf_keys=hf_config.COMMON_KEYS | {"num_local_experts", "num_experts_per_tok"},
        metadata=partial(gguf_config.config_keys, arch="llama"),
        tensors=lambda cfg: EXPERT_TENSORS if cfg.experts else TENSORS,
        build=build,
    )
)  # fmt: skip
