"""A transformer's config in GGUF metadata, read and written. Keys stand under the architecture."""

from __future__ import annotations

from typing import Any

from pyllama_rt.errors import UnsupportedError
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models import reading
from pyllama_rt.models.config import Experts, TransformerConfig
from pyllama_rt.models.rope import Rope

RMS_EPS = "attention.layer_norm_rms_epsilon"
LAYER_EPS = "attention.layer_norm_epsilon"


def read_config(
    r: MetadataReader, arch: str, *, eps: str = RMS_EPS, rotary: bool = True
) -> TransformerConfig:
    """The config in a file's metadata.

    Args: eps: key of the norms' epsilon. rotary: False where positions are learned.
    Raises: FormatError for keys that are missing or contradict one another; UnsupportedError for
        what this version cannot run.
    """

    def key(name: str) -> str:
        return f"{arch}.{name}"

    n_layers = reading.check_count(
        key("block_count"), r.get_int(key("block_count")), 1, reading.MAX_LAYERS
    )
    dim = reading.check_count(
        key("embedding_length"), r.get_int(key("embedding_length")), 1, reading.MAX_WIDTH
    )
    n_heads = reading.per_layer(r, key("attention.head_count"), n_layers)
    head_dim = (
        r.get_int(key("attention.key_length"))
        if r.has(key("attention.key_length"))
        else reading.head_width(key("attention.head_count"), dim, n_heads[0])
    )
    if r.get_int(key("attention.value_length"), head_dim) != head_dim:
        raise UnsupportedError(f"{key('attention.value_length')}: expected the width of keys")
    values: dict[str, Any] = {
        "hidden_dim": reading.per_layer(r, key("feed_forward_length"), n_layers),
        "n_kv_heads": reading.per_layer(r, key("attention.head_count_kv"), n_layers, n_heads),
        "vocab_size": reading.n_strings(r, "tokenizer.ggml.tokens"),
        "n_ctx_train": r.get_int(key("context_length")),
        "norm_eps": r.get_float(key(eps)),
        "rope": _read_rope(r, arch, head_dim) if rotary else None,
        "windows": _windows(r.get_int(key("attention.sliding_window"), 0), n_layers),
        "experts": _read_experts(r, arch),
    }
    with reading.prefixed(arch):
        return TransformerConfig(n_layers, dim, n_heads=n_heads, head_dim=head_dim, **values)


def _windows(window: int, n_layers: int) -> tuple[int, ...]:
    return (window,) * n_layers if window else ()


def _read_rope(r: MetadataReader, arch: str, head_dim: int) -> Rope:
    """Rotary positions; as in llama.cpp a factor without a kind is linear, and 0 is "not set"."""
    scaling = f"{arch}.rope.scaling"
    kind = r.get_str(f"{scaling}.type", "")
    old = r.get_float(f"{arch}.rope.scale_linear", 1.0)  # of files from 2023
    factor = r.get_float(f"{scaling}.factor", old) or 1.0
    if kind in ("", "linear"):
        kind = "none" if factor == 1.0 else "linear"
    n_ctx_original = r.get_int(f"{scaling}.original_context_length", 0)
    if kind == "yarn" and n_ctx_original == 0:
        n_ctx_original = r.get_int(f"{arch}.context_length")
    values: dict[str, Any] = {
        "dims": r.get_int(f"{arch}.rope.dimension_count", head_dim),
        "base": r.get_float(f"{arch}.rope.freq_base", 10000.0),
        "magnitude": r.get_float(f"{scaling}.attn_factor", 1.0),
        "beta_fast": r.get_float(f"{scaling}.yarn_beta_fast", 32.0),
        "beta_slow": r.get_float(f"{scaling}.yarn_beta_slow", 1.0),
    }
    with reading.prefixed(arch):
        factor = 1.0 if kind == "none" else factor
        return Rope(kind=kind, factor=factor, n_ctx_original=n_ctx_original, **values)


def _read_experts(r: MetadataReader, arch: str) -> Experts | None:
    n = r.get_int(f"{arch}.expert_count", 0)
    if n == 0:
        return None
    reading.check_count(f"{arch}.expert_count", n, 1, reading.MAX_EXPERTS)
    width = r.get_int(f"{arch}.expert_feed_forward_length", 0)
    if width == 0:
        key = f"{arch}.feed_forward_length"
        width = reading.per_layer(r, key, r.get_int(f"{arch}.block_count"))[0]
    n_used = r.get_int(f"{arch}.expert_used_count")
    with reading.prefixed(arch):
        return Experts(n, n_used, width)


def config_keys(cfg: TransformerConfig, arch: str, *, eps: str = RMS_EPS) -> dict[str, Any]:
    """The config as GGUF keys and values; counts that are equal in all layers as one number."""

    def counts(values: tuple[int, ...]) -> int | list[int]:
        return values[0] if len(set(values)) == 1 else list(values)

    keys = {
        "vocab_size": cfg.vocab_size,
        "context_length": cfg.n_ctx_train,
        "embedding_length": cfg.dim,
        "block_count": cfg.n_layers,
        "feed_forward_length": counts(cfg.hidden_dim),
        "attention.head_count": counts(cfg.n_heads),
        "attention.head_count_kv": counts(cfg.n_kv_heads),
        "attention.key_length": cfg.head_dim,
        "attention.value_length": cfg.head_dim,
        eps: cfg.norm_eps,
    }
    if cfg.rope is not None:
        keys |= _rope_keys(cfg.rope)
    if any(cfg.windows):
        keys["attention.sliding_window"] = max(cfg.windows)
    if cfg.experts is not None:
        keys["expert_count"] = cfg.experts.n
        keys["expert_used_count"] = cfg.experts.n_used
        keys["expert_feed_forward_length"] = cfg.experts.hidden_dim
    return {f"{arch}.{key}": value for key, value in keys.items()}


def _rope_keys(rope: Rope) -> dict[str, Any]:
    keys: dict[str, Any] = {"rope.dimension_count": rope.dims, "rope.freq_base": rope.base}
    if rope.kind != "none":
        keys |= {"rope.scaling.type": rope.kind, "rope.scaling.factor": rope.factor}
    if rope.n_ctx_original:
        keys["rope.scaling.original_context_length"] = rope.n_ctx_original
    if rope.magnitude != 1.0:
        keys["rope.scaling.attn_factor"] = rope.magnitude
    if (rope.beta_fast, rope.beta_slow) != (32.0, 1.0):
        keys["rope.scaling.yarn_beta_fast"] = rope.beta_fast
        keys["rope.scaling.yarn_beta_slow"] = rope.beta_slow
    return keys


def divisor_tensors(cfg: TransformerConfig) -> dict[str, tuple[float, ...]]:
    """The divisors of rotary frequencies, which GGUF keeps as tensors, by name."""
    if cfg.rope is None:
        return {}
    tensors = {
        "rope_freqs.weight": cfg.rope.divisors,
        "rope_factors_short.weight": cfg.rope.short_divisors,
        "rope_factors_long.weight": cfg.rope.long_divisors,
    }
    return {name: values for name, values in tensors.items() if values}
