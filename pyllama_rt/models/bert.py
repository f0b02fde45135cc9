"""BERT: rows that see one another, learned positions, norms after each part; gives embeddings.

Source: arXiv:1810.04805, section 3; arXiv:1908.10084, section 3 (pooling).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from pyllama_rt.graph.builder import Graph, GraphBuilder
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models import blocks, gguf_config, hf_config, reading
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.registry import Architecture, TensorSpec, register
from pyllama_rt.models.tables import pair

_E, _L = "embeddings.", "encoder.layer.{i}."
TENSORS = (
    TensorSpec("token_embd.weight", f"{_E}word_embeddings.weight", ("vocab", "dim")),
    TensorSpec("position_embd.weight", f"{_E}position_embeddings.weight", ("n_ctx", "dim")),
    TensorSpec("token_types.weight", f"{_E}token_type_embeddings.weight", ("types", "dim")),
    *pair("token_embd_norm", f"{_E}LayerNorm", ("dim",), bias="required"),
    *pair("blk.{i}.attn_q", f"{_L}attention.self.query", ("q", "dim"), bias="required"),
    *pair("blk.{i}.attn_k", f"{_L}attention.self.key", ("kv", "dim"), bias="required"),
    *pair("blk.{i}.attn_v", f"{_L}attention.self.value", ("kv", "dim"), bias="required"),
    *pair("blk.{i}.attn_output", f"{_L}attention.output.dense", ("dim", "q"), bias="required"),
    *pair("blk.{i}.attn_output_norm", f"{_L}attention.output.LayerNorm", ("dim",), bias="required"),
    *pair("blk.{i}.ffn_up", f"{_L}intermediate.dense", ("hidden", "dim"), bias="required"),
    *pair("blk.{i}.ffn_down", f"{_L}output.dense", ("dim", "hidden"), bias="required"),
    *pair("blk.{i}.layer_output_norm", f"{_L}output.LayerNorm", ("dim",), bias="required"),
)
POOLINGS = ("", "mean", "cls")
"""By GGUF's number of a pooling; 0 is none."""

read = partial(gguf_config.read_config, arch="bert", eps=gguf_config.LAYER_EPS, rotary=False)


def from_gguf(r: MetadataReader) -> TransformerConfig:
    """The config in GGUF metadata."""
    pooling = r.get_int("bert.pooling_type", 1)
    reading.check_choice("bert.pooling_type", str(pooling), ("0", "1", "2"))
    n_types = r.get_int("tokenizer.ggml.token_type_count", 2)
    return replace(
        read(r), causal=False, pooling=POOLINGS[pooling] or "mean", n_token_types=n_types
    )


def from_hf(r: MetadataReader) -> TransformerConfig:
    """The config in a config.json; where no pooling is configured it is the mean."""
    reading.check_choice(
        "position_embedding_type", r.get_str("position_embedding_type", "absolute"), ("absolute",)
    )
    names = hf_config.HfNames(eps="layer_norm_eps", usual_eps=1e-12)
    cfg = hf_config.read_config(r, names, activations=("gelu",), rotary=False)
    n_types = reading.check_count("type_vocab_size", r.get_int("type_vocab_size", 2), 1, 1 << 16)
    pooling = r.get_str("pooling", "mean")
    reading.check_choice("pooling", pooling, POOLINGS[1:])
    return replace(cfg, causal=False, pooling=pooling, n_token_types=n_types)


def metadata(cfg: TransformerConfig) -> dict[str, Any]:
    """The config as GGUF keys."""
    return {
        **gguf_config.config_keys(cfg, "bert", eps=gguf_config.LAYER_EPS),
        "bert.attention.causal": False,
        "bert.pooling_type": POOLINGS.index(cfg.pooling),
        "tokenizer.ggml.token_type_count": cfg.n_token_types,
    }


def build(cfg: TransformerConfig, g: GraphBuilder) -> Graph:
    """The graph; all rows of a text must be in one step."""
    x = g.embed("token_embd.weight", cfg.vocab_size, cfg.dim)
    x = g.add_row(x, "token_types.weight", cfg.n_token_types, 0)
    x = g.add(x, g.embed_positions("position_embd.weight", cfg.n_ctx_train, cfg.dim))
    x = blocks.layer_norm(g, x, "token_embd_norm", cfg.norm_eps)  # (n, dim)
    for i in range(cfg.n_layers):
        mixed = g.add(x, blocks.attention(g, x, cfg, i))
        x = blocks.layer_norm(g, mixed, f"blk.{i}.attn_output_norm", cfg.norm_eps)
        wide = g.add(x, blocks.mlp(g, x, cfg, i, "erf"))
        x = blocks.layer_norm(g, wide, f"blk.{i}.layer_output_norm", cfg.norm_eps)  # (n, dim)
    g.output_rows(x)  # (m, dim)
    return blocks.finished(g)


register(
    Architecture(
        name="bert",
        hf_names=("BertModel", "BertForMaskedLM"),
        from_gguf=from_gguf,
        from_hf=from_hf,
        hf_keys=frozenset(
            {
                "num_hidden_layers", "num_attention_heads", "layer_norm_eps",
                "position_embedding_type", "hidden_act",
            }
        ),
        metadata=metadata,
        tensors=lambda _: TENSORS,
        build=build,
        hf_prefix="bert.",
        hf_ignored=r"embeddings\.position_ids|pooler\..*|cls\..*",
    )
)  # fmt: skip
