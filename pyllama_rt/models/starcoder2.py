"""StarCoder2: rotary positions, LayerNorm, biases, grouped queries, GELU without a gate.

Source: arXiv:2402.19173, section 5.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pyllama_rt.graph.builder import Graph, GraphBuilder
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models import blocks, gguf_config, hf_config, tables
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.registry import Architecture, TensorSpec, register
from pyllama_rt.models.tables import LAYER, pair

TENSORS = (
    TensorSpec("token_embd.weight", "model.embed_tokens.weight", ("vocab", "dim")),
    *pair("output_norm", "model.norm", ("dim",), bias="required"),
    TensorSpec("output.weight", "lm_head.weight", ("vocab", "dim"), optional=True),
    *pair("blk.{i}.attn_norm", f"{LAYER}input_layernorm", ("dim",), bias="required"),
    *tables.attention(),
    *pair("blk.{i}.ffn_norm", f"{LAYER}post_attention_layernorm", ("dim",), bias="required"),
    *pair("blk.{i}.ffn_up", f"{LAYER}mlp.c_fc", ("hidden", "dim")),
    *pair("blk.{i}.ffn_down", f"{LAYER}mlp.c_proj", ("dim", "hidden")),
)


def from_hf(r: MetadataReader) -> TransformerConfig:
    """The config in a config.json."""
    names = hf_config.HfNames(eps="norm_epsilon", usual_eps=1e-5)
    cfg = hf_config.read_config(r, names, activations=("gelu_pytorch_tanh", "gelu_new"))
    return replace(cfg, windows=hf_config.read_window(r, cfg.n_layers))


def build(cfg: TransformerConfig, g: GraphBuilder) -> Graph:
    """The graph."""
    table = blocks.rope_table(g, cfg.rope)
    x = g.embed("token_embd.weight", cfg.vocab_size, cfg.dim)  # (n, dim)
    for i in range(cfg.n_layers):
        normed = blocks.layer_norm(g, x, f"blk.{i}.attn_norm", cfg.norm_eps)
        x = g.add(x, blocks.attention(g, normed, cfg, i, table=table))  # (n, dim)
        normed = blocks.layer_norm(g, x, f"blk.{i}.ffn_norm", cfg.norm_eps)
        x = g.add(x, blocks.mlp(g, normed, cfg, i, "tanh"))  # (n, dim)
    x = blocks.layer_norm(g, g.output_rows(x), "output_norm", cfg.norm_eps)  # (m, dim)
    blocks.head(g, x, cfg)  # (m, vocab)
    return blocks.finished(g)


register(
    Architecture(
        name="starcoder2",
        hf_names=("Starcoder2ForCausalLM",),
        from_gguf=partial(gguf_config.read_config, arch="starcoder2", eps=gguf_config.LAYER_EPS),
        from_hf=from_hf,
        hf_keys=hf_config.COMMON_KEYS
        | {
            "norm_epsilon",
            "norm_type",
            "use_bias",
            # What any attention does.
            "activation_function",
            "attention_softmax_in_fp32",
            "scale_attn_weights",
            "scale_attention_softmax_in_fp32",
        },
        metadata=partial(gguf_config.config_keys, arch="starcoder2", eps=gguf_config.LAYER_EPS),
        tensors=lambda _: TENSORS,
        build=build,
    )
)
