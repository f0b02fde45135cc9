"""LLaMA: pre-norm blocks, RMSNorm, rotary positions, grouped-query attention, SwiGLU.

Also what is published under other names with the same tensors: Vicuna, Chinese-LLaMA/Alpaca,
TinyLlama, llama2.c. Source: arXiv:2302.13971, section 2.2; arXiv:2307.09288, appendix A.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyllama_rt.errors import FormatError, UnsupportedError
from pyllama_rt.graph.builder import Graph, GraphBuilder
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models import blocks, reading
from pyllama_rt.models.registry import Architecture, TensorSpec, register


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """Sizes of one network; heads, KV heads and hidden width are per layer."""

    n_layers: int
    dim: int
    hidden_dim: tuple[int, ...]
    n_heads: tuple[int, ...]
    n_kv_heads: tuple[int, ...]
    head_dim: int
    vocab_size: int
    n_ctx_train: int
    rms_norm_eps: float
    rope_dims: int
    rope_base: float = 10000.0
    rope_scale: float = 1.0  # positions are multiplied by this

    def __post_init__(self) -> None:
        reading.check_heads("llama.attention", self.n_heads, self.n_kv_heads)
        reading.check_count("llama.attention.key_length", self.head_dim, 2, reading.MAX_WIDTH)
        reading.check_count("llama.rope.dimension_count", self.rope_dims, 2, self.head_dim)
        if self.rope_dims % 2:
            raise FormatError(
                f"llama.rope.dimension_count: expected an even number, found {self.rope_dims}"
            )
        reading.check_count("llama.vocab_size", self.vocab_size, 1, reading.MAX_WIDTH)
        reading.check_count("llama.context_length", self.n_ctx_train, 1, reading.MAX_CONTEXT)
        reading.check_positive("llama.attention.layer_norm_rms_epsilon", self.rms_norm_eps)
        reading.check_positive("llama.rope.freq_base", self.rope_base)
        reading.check_positive("llama.rope.scaling.factor", self.rope_scale)


def from_gguf(r: MetadataReader) -> LlamaConfig:
    """The config in a GGUF file's metadata."""
    n_layers = reading.check_count(
        "llama.block_count", r.get_int("llama.block_count"), 1, reading.MAX_LAYERS
    )
    dim = reading.check_count(
        "llama.embedding_length", r.get_int("llama.embedding_length"), 1, reading.MAX_WIDTH
    )
    n_heads = reading.per_layer(r, "llama.attention.head_count", n_layers)
    head_dim = (
        r.get_int("llama.attention.key_length")
        if r.has("llama.attention.key_length")
        else reading.head_width("llama.attention.head_count", dim, n_heads[0])
    )
    if r.get_int("llama.attention.value_length", head_dim) != head_dim:
        raise UnsupportedError("llama.attention.value_length: values as wide as keys are supported")
    n_experts = r.get_int("llama.expert_count", 0)
    if n_experts:
        raise UnsupportedError(f"llama.expert_count: {n_experts} experts are not supported yet")
    return LlamaConfig(
        n_layers=n_layers,
        dim=dim,
        hidden_dim=reading.per_layer(r, "llama.feed_forward_length", n_layers),
        n_heads=n_heads,
        n_kv_heads=reading.per_layer(r, "llama.attention.head_count_kv", n_layers, n_heads),
        head_dim=head_dim,
        vocab_size=reading.n_strings(r, "tokenizer.ggml.tokens"),
        n_ctx_train=r.get_int("llama.context_length"),
        rms_norm_eps=r.get_float("llama.attention.layer_norm_rms_epsilon"),
        rope_dims=r.get_int("llama.rope.dimension_count", head_dim),
        rope_base=r.get_float("llama.rope.freq_base", 10000.0),
        rope_scale=_gguf_rope_scale(r),
    )


def _gguf_rope_scale(r: MetadataReader) -> float:
    """What positions are multiplied by; as in llama.cpp a factor without a type is linear."""
    kind = r.get_str("llama.rope.scaling.type", "linear")
    reading.check_choice("llama.rope.scaling.type", kind, ("none", "linear"))
    if kind == "none":
        return 1.0
    old = r.get_float("llama.rope.scale_linear", 1.0)  # of files from 2023
    factor = r.get_float("llama.rope.scaling.factor", old)
    if factor == 0.0:  # "not set"
        return 1.0
    return 1.0 / reading.check_positive("llama.rope.scaling.factor", factor)


def from_hf(r: MetadataReader) -> LlamaConfig:
    """The config in a Hugging Face config.json."""
    reading.check_choice("hidden_act", r.get_str("hidden_act", "silu"), ("silu",))
    n_layers = reading.check_count(
        "num_hidden_layers", r.get_int("num_hidden_layers"), 1, reading.MAX_LAYERS
    )
    for kind in r.get_strings("layer_types", ()):
        reading.check_choice("layer_types", kind, ("full_attention",))
    dim = reading.check_count("hidden_size", r.get_int("hidden_size"), 1, reading.MAX_WIDTH)
    n_heads = reading.per_layer(r, "num_attention_heads", n_layers)
    head_dim = (
        r.get_int("head_dim")
        if r.has("head_dim")
        else reading.head_width("num_attention_heads", dim, n_heads[0])
    )
    base, scale = _hf_rope(r)
    with reading.renamed(_HF_NAMES):
        return LlamaConfig(
            n_layers=n_layers,
            dim=dim,
            hidden_dim=reading.per_layer(r, "intermediate_size", n_layers),
            n_heads=n_heads,
            n_kv_heads=reading.per_layer(r, "num_key_value_heads", n_layers, n_heads),
            head_dim=head_dim,
            vocab_size=r.get_int("vocab_size"),
            n_ctx_train=r.get_int("max_position_embeddings", 2048),
            rms_norm_eps=r.get_float("rms_norm_eps", 1e-6),
            rope_dims=head_dim,
            rope_base=base,
            rope_scale=scale,
        )


def _hf_rope(r: MetadataReader) -> tuple[float, float]:
    """Base, and what positions are multiplied by; transformers 5 renamed the block that says so."""
    if r.has("rope_parameters") and r.has("rope_scaling"):
        raise UnsupportedError("rope_parameters: expected it or rope_scaling, found both")
    block = "rope_parameters" if r.has("rope_parameters") else "rope_scaling"
    kind = r.get_str(f"{block}.rope_type", r.get_str(f"{block}.type", "default"))
    reading.check_choice(f"{block}.rope_type", kind, ("default", "linear"))
    factor = r.get_float(f"{block}.factor") if kind == "linear" else 1.0
    for key in ("partial_rotary_factor", f"{block}.partial_rotary_factor"):
        share = r.get_float(key, 1.0)
        if share != 1.0:
            raise UnsupportedError(f"{key}: only whole heads that rotate are supported: {share}")
    base = r.get_float(f"{block}.rope_theta", r.get_float("rope_theta", 10000.0))
    return base, 1.0 / reading.check_positive(f"{block}.factor", factor)


_HF_NAMES = {
    "llama.attention.head_count_kv": "num_key_value_heads",
    "llama.attention.key_length": "head_dim",
    "llama.rope.dimension_count": "head_dim",
    "llama.vocab_size": "vocab_size",
    "llama.context_length": "max_position_embeddings",
    "llama.attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "llama.rope.freq_base": "rope_theta",
}
"""What LlamaConfig checks, as config.json calls it."""

_ROPE_KEYS = ("rope_theta", "rope_type", "type", "factor", "partial_rotary_factor")
HF_KEYS = frozenset(
    {
        "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
        "rms_norm_eps", "rope_theta", "partial_rotary_factor", "layer_types",
        "attention_bias", "mlp_bias",  # the checkpoint's tensors say so themselves
        *(f"{block}.{key}" for block in ("rope_parameters", "rope_scaling") for key in _ROPE_KEYS),
        # Of the context before scaling, which linear scaling does not ask for.
        "rope_parameters.original_max_position_embeddings",
        "rope_scaling.original_max_position_embeddings",
    }
)  # fmt: skip
"""Keys of config.json whose names speak of the arithmetic and that are looked at."""


def metadata(cfg: LlamaConfig) -> dict[str, Any]:
    """The config as GGUF keys and values; counts that are equal in all layers as one number."""

    def counts(values: tuple[int, ...]) -> int | list[int]:
        return values[0] if len(set(values)) == 1 else list(values)

    scaling = {
        "llama.rope.scaling.type": "linear",
        "llama.rope.scaling.factor": 1.0 / cfg.rope_scale,
    }
    return {
        "llama.vocab_size": cfg.vocab_size,
        "llama.context_length": cfg.n_ctx_train,
        "llama.embedding_length": cfg.dim,
        "llama.block_count": cfg.n_layers,
        "llama.feed_forward_length": counts(cfg.hidden_dim),
        "llama.attention.head_count": counts(cfg.n_heads),
        "llama.attention.head_count_kv": counts(cfg.n_kv_heads),
        "llama.attention.key_length": cfg.head_dim,
        "llama.attention.value_length": cfg.head_dim,
        "llama.attention.layer_norm_rms_epsilon": cfg.rms_norm_eps,
        "llama.rope.dimension_count": cfg.rope_dims,
        "llama.rope.freq_base": cfg.rope_base,
        **(scaling if cfg.rope_scale != 1.0 else {}),
    }


def dims(cfg: LlamaConfig, layer: int) -> dict[str, int]:
    """Sizes behind the symbols of TENSORS, for one layer."""
    return {
        "vocab": cfg.vocab_size,
        "dim": cfg.dim,
        "q": cfg.n_heads[layer] * cfg.head_dim,
        "kv": cfg.n_kv_heads[layer] * cfg.head_dim,
        "hidden": cfg.hidden_dim[layer],
        "rope": cfg.rope_dims // 2,
        "n_heads": cfg.n_heads[layer],
        "n_kv_heads": cfg.n_kv_heads[layer],
    }


_A, _M = "model.layers.{i}.self_attn.", "model.layers.{i}.mlp."
TENSORS = (
    TensorSpec("token_embd.weight", "model.embed_tokens.weight", ("vocab", "dim")),
    TensorSpec("output_norm.weight", "model.norm.weight", ("dim",)),
    TensorSpec("output.weight", "lm_head.weight", ("vocab", "dim"), optional=True),
    TensorSpec("blk.{i}.attn_norm.weight", "model.layers.{i}.input_layernorm.weight", ("dim",)),
    TensorSpec("blk.{i}.attn_q.weight", _A + "q_proj.weight", ("q", "dim"), "interleave_q"),
    TensorSpec("blk.{i}.attn_k.weight", _A + "k_proj.weight", ("kv", "dim"), "interleave_k"),
    TensorSpec("blk.{i}.attn_v.weight", _A + "v_proj.weight", ("kv", "dim")),
    TensorSpec("blk.{i}.attn_output.weight", _A + "o_proj.weight", ("dim", "q")),
    TensorSpec("blk.{i}.attn_q.bias", _A + "q_proj.bias", ("q",), "interleave_q", optional=True),
    TensorSpec("blk.{i}.attn_k.bias", _A + "k_proj.bias", ("kv",), "interleave_k", optional=True),
    TensorSpec("blk.{i}.attn_v.bias", _A + "v_proj.bias", ("kv",), optional=True),
    TensorSpec("blk.{i}.attn_output.bias", _A + "o_proj.bias", ("dim",), optional=True),
    TensorSpec(
        "blk.{i}.ffn_norm.weight", "model.layers.{i}.post_attention_layernorm.weight", ("dim",)
    ),
    TensorSpec("blk.{i}.ffn_gate.weight", _M + "gate_proj.weight", ("hidden", "dim")),
    TensorSpec("blk.{i}.ffn_up.weight", _M + "up_proj.weight", ("hidden", "dim")),
    TensorSpec("blk.{i}.ffn_down.weight", _M + "down_proj.weight", ("dim", "hidden")),
    TensorSpec("blk.{i}.ffn_gate.bias", _M + "gate_proj.bias", ("hidden",), optional=True),
    TensorSpec("blk.{i}.ffn_up.bias", _M + "up_proj.bias", ("hidden",), optional=True),
    TensorSpec("blk.{i}.ffn_down.bias", _M + "down_proj.bias", ("dim",), optional=True),
)


def build(cfg: LlamaConfig, g: GraphBuilder) -> Graph:
    """The graph; n is the rows of a step, m the rows that asked for logits."""
    factors = "rope_freqs.weight"
    table = g.rope_table(
        cfg.rope_dims, cfg.rope_base, cfg.rope_scale, factors if g.has(factors) else None
    )
    x = g.embed("token_embd.weight", cfg.vocab_size, cfg.dim)  # (n, dim)
    for i in range(cfg.n_layers):
        prefix = f"blk.{i}"
        normed = g.rms_norm(x, f"{prefix}.attn_norm.weight", cfg.rms_norm_eps)
        mixed = blocks.attention(
            g, normed, table, prefix,
            n_heads=cfg.n_heads[i], n_kv_heads=cfg.n_kv_heads[i], head_dim=cfg.head_dim,
            pairing="interleaved",
        )  # fmt: skip
        x = g.add(x, mixed)  # (n, dim)
        normed = g.rms_norm(x, f"{prefix}.ffn_norm.weight", cfg.rms_norm_eps)
        x = g.add(x, blocks.gated_mlp(g, normed, prefix, cfg.hidden_dim[i]))  # (n, dim)
    x = g.rms_norm(g.output_rows(x), "output_norm.weight", cfg.rms_norm_eps)  # (m, dim)
    head = "output.weight" if g.has("output.weight") else "token_embd.weight"
    g.linear(x, head, cfg.vocab_size)  # (m, vocab)
    return g.build()


register(
    Architecture(
        name="llama",
        hf_names=("LlamaForCausalLM", "LLaMAForCausalLM"),
        from_gguf=from_gguf,
        from_hf=from_hf,
        hf_keys=HF_KEYS,
        metadata=metadata,
        dims=dims,
        tensors=TENSORS,
        build=build,
    )
)
