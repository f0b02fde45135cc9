"""GPT-2: learned positions, LayerNorm, one matrix for queries, keys and values, GELU.

Checkpoints hold matrices transposed. Source: Radford et al. 2019, section 2.3.
"""

from __future__ import annotations

from functools import partial

from pyllama_rt.errors import UnsupportedError
from pyllama_rt.graph.builder import Graph, GraphBuilder
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models import blocks, gguf_config, hf_config
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.registry import Architecture, TensorSpec, register
from pyllama_rt.models.tables import pair

NAMES = hf_config.HfNames(
    n_layers="n_layer", dim="n_embd", hidden_dim="n_inner", n_heads="n_head", n_ctx="n_positions",
    eps="layer_norm_epsilon", usual_eps=1e-5, activation="activation_function",
)  # fmt: skip
TURN = "transpose"
TENSORS = (
    TensorSpec("token_embd.weight", "wte.weight", ("vocab", "dim")),
    TensorSpec("position_embd.weight", "wpe.weight", ("n_ctx", "dim")),
    *pair("output_norm", "ln_f", ("dim",), bias="required"),
    TensorSpec("output.weight", "lm_head.weight", ("vocab", "dim"), optional=True),
    *pair("blk.{i}.attn_norm", "h.{i}.ln_1", ("dim",), bias="required"),
    *pair("blk.{i}.attn_qkv", "h.{i}.attn.c_attn", ("qkv", "dim"), TURN, bias="required"),
    *pair("blk.{i}.attn_output", "h.{i}.attn.c_proj", ("dim", "q"), TURN, bias="required"),
    *pair("blk.{i}.ffn_norm", "h.{i}.ln_2", ("dim",), bias="required"),
    *pair("blk.{i}.ffn_up", "h.{i}.mlp.c_fc", ("hidden", "dim"), TURN, bias="required"),
    *pair("blk.{i}.ffn_down", "h.{i}.mlp.c_proj", ("dim", "hidden"), TURN, bias="required"),
)


def from_hf(r: MetadataReader) -> TransformerConfig:
    """The config in a config.json."""
    for key, usual in (
        ("scale_attn_weights", True),
        ("scale_attn_by_inverse_layer_idx", False),
        ("add_cross_attention", False),
    ):
        if r.get_bool(key, usual) is not usual:
            raise UnsupportedError(f"{key}: expected {usual}, found {not usual}")
    activations = ("gelu_new", "gelu_pytorch_tanh")
    return hf_config.read_config(r, NAMES, activations=activations, rotary=False)


def build(cfg: TransformerConfig, g: GraphBuilder) -> Graph:
    """The graph."""
    x = g.embed("token_embd.weight", cfg.vocab_size, cfg.dim)
    x = g.add(x, g.embed_positions("position_embd.weight", cfg.n_ctx_train, cfg.dim))  # (n, dim)
    for i in range(cfg.n_layers):
        normed = blocks.layer_norm(g, x, f"blk.{i}.attn_norm", cfg.norm_eps)
        x = g.add(x, blocks.attention(g, normed, cfg, i))  # (n, dim)
        normed = blocks.layer_norm(g, x, f"blk.{i}.ffn_norm", cfg.norm_eps)
        x = g.add(x, blocks.mlp(g, normed, cfg, i, "tanh"))  # (n, dim)
    x = blocks.layer_norm(g, g.output_rows(x), "output_norm", cfg.norm_eps)  # (m, dim)
    blocks.head(g, x, cfg)  # (m, vocab)
    return blocks.finished(g)


register(
    Architecture(
        name="gpt2",
        hf_names=("GPT2LMHeadModel",),
        from_gguf=partial(
            gguf_config.read_config, arch="gpt2", eps=gguf_config.LAYER_EPS, rotary=False
        ),
        from_hf=from_hf,
        hf_keys=frozenset(
            {
                "n_layer", "n_head", "layer_norm_epsilon", "activation_function",
                "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "add_cross_attention",
                "reorder_and_upcast_attn", "summary_activation",
            }
        ),
        metadata=partial(gguf_config.config_keys, arch="gpt2", eps=gguf_config.LAYER_EPS),
        tensors=lambda _: TENSORS,
        build=build,
        hf_prefix="transformer.",
        hf_ignored=r"h\.[0-9]+\.attn\.(masked_)?bias",
    )
)  # fmt: skip
