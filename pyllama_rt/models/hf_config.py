"""A transformer's config in a Hugging Face config.json."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pyllama_rt.errors import FormatError, UnsupportedError
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models import reading
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.rope import Rope, llama3_divisors, longrope_magnitude


@dataclass(frozen=True, slots=True)
class HfNames:
    """What a family calls the keys of its config.json."""

    n_layers: str = "num_hidden_layers"
    dim: str = "hidden_size"
    hidden_dim: str = "intermediate_size"
    n_heads: str = "num_attention_heads"
    n_ctx: str = "max_position_embeddings"
    eps: str = "rms_norm_eps"
    usual_eps: float = 1e-6
    activation: str = "hidden_act"


def read_config(
    r: MetadataReader,
    names: HfNames | None = None,
    *,
    activations: tuple[str, ...] = ("silu",),
    rotary: bool = True,
) -> TransformerConfig:
    """The config in a parsed config.json.

    Args: names: keys that differ from LLaMA's. activations: those that the family's graph computes.
        rotary: False where positions are learned.
    Raises: FormatError for keys that are missing or contradict one another; UnsupportedError for
        what this version cannot run.
    """
    names = names or HfNames()
    reading.check_choice(names.activation, r.get_str(names.activation, activations[0]), activations)
    n_layers = reading.check_count(names.n_layers, r.get_int(names.n_layers), 1, reading.MAX_LAYERS)
    dim = reading.check_count(names.dim, r.get_int(names.dim), 1, reading.MAX_WIDTH)
    n_heads = reading.per_layer(r, names.n_heads, n_layers)
    head_dim = (
        r.get_int("head_dim")
        if r.has("head_dim")
        else reading.head_width(names.n_heads, dim, n_heads[0])
    )
    with reading.renamed(_names_of_keys(names)):
        config = TransformerConfig(
            n_layers=n_layers,
            dim=dim,
            hidden_dim=reading.per_layer(r, names.hidden_dim, n_layers, (4 * dim,) * n_layers),
            n_heads=n_heads,
            n_kv_heads=reading.per_layer(r, "num_key_value_heads", n_layers, n_heads),
            head_dim=head_dim,
            vocab_size=r.get_int("vocab_size"),
            n_ctx_train=r.get_int(names.n_ctx, 2048),
            norm_eps=r.get_float(names.eps, names.usual_eps),
        )
        if not rotary:
            return config
        return replace(config, rope=read_rope(r, config))


def read_rope(r: MetadataReader, cfg: TransformerConfig, block: str = "") -> Rope:
    """Rotary positions; transformers 5 renamed the block that tells of them.

    Args: block: the key of that block, "" to find it.
    """
    if r.has("rope_parameters") and r.has("rope_scaling") and not block:
        raise UnsupportedError("rope_parameters: expected it or rope_scaling, found both")
    usual = "rope_parameters" if r.has("rope_parameters") else "rope_scaling"
    block = block or usual
    kind = r.get_str(f"{block}.rope_type", r.get_str(f"{block}.type", "default"))
    kinds = ("default", "linear", "yarn", "llama3", "longrope", "su")
    reading.check_choice(f"{block}.rope_type", kind, kinds)
    kind = "longrope" if kind == "su" else kind  # its first name
    for key in _SCALING_KEYS:
        if r.has(f"{block}.{key}") and key not in _KEYS_OF_KIND[kind]:
            raise UnsupportedError(f"{block}.{key}: not supported beside rope_type {kind!r}")
    base = r.get_float(f"{block}.rope_theta", r.get_float("rope_theta", 10000.0))
    share = r.get_float(f"{block}.partial_rotary_factor", r.get_float("partial_rotary_factor", 1.0))
    reading.check_positive("partial_rotary_factor", share)
    rope = Rope(int(cfg.head_dim * share), base)
    if kind == "linear":
        return replace(rope, kind="linear", factor=r.get_float(f"{block}.factor"))
    if kind == "yarn":
        return _read_yarn(r, block, rope, cfg)
    if kind == "llama3":
        return replace(rope, divisors=_llama3(r, block, rope))
    if kind == "longrope":
        return _read_longrope(r, block, rope, cfg)
    return rope


def _read_yarn(r: MetadataReader, block: str, rope: Rope, cfg: TransformerConfig) -> Rope:
    for key in ("mscale", "mscale_all_dim"):
        if r.has(f"{block}.{key}"):
            raise UnsupportedError(f"{block}.{key}: not supported for this architecture")
    factor = reading.check_positive(f"{block}.factor", r.get_float(f"{block}.factor"))
    original = r.get_int(f"{block}.original_max_position_embeddings", cfg.n_ctx_train)
    scaled = replace(
        rope,
        kind="yarn",
        factor=factor,
        n_ctx_original=original,
        beta_fast=r.get_float(f"{block}.beta_fast", 32.0),
        beta_slow=r.get_float(f"{block}.beta_slow", 1.0),
    )
    wanted = r.get_float(f"{block}.attention_factor", scaled.full_magnitude())
    return replace(scaled, magnitude=wanted / scaled.full_magnitude())


def _llama3(r: MetadataReader, block: str, rope: Rope) -> tuple[float, ...]:
    low = r.get_float(f"{block}.low_freq_factor")
    high = r.get_float(f"{block}.high_freq_factor")
    if not 0 < low < high:
        raise UnsupportedError(
            f"{block}.high_freq_factor: expected more than low_freq_factor {low}, found {high}"
        )
    factor = reading.check_positive(f"{block}.factor", r.get_float(f"{block}.factor"))
    original = r.get_int(f"{block}.original_max_position_embeddings")
    return llama3_divisors(rope, factor=factor, low=low, high=high, n_ctx_original=original)


def _read_longrope(r: MetadataReader, block: str, rope: Rope, cfg: TransformerConfig) -> Rope:
    key = "original_max_position_embeddings"
    original = r.get_int(f"{block}.{key}", r.get_int(key, cfg.n_ctx_train))
    factor = r.get_float(f"{block}.factor", cfg.n_ctx_train / max(original, 1))
    magnitude = r.get_float(
        f"{block}.attention_factor", longrope_magnitude(factor, max(original, 1))
    )
    return replace(
        rope,
        kind="longrope",
        n_ctx_original=original,
        magnitude=magnitude,
        short_divisors=tuple(r.get_floats(f"{block}.short_factor")),
        long_divisors=tuple(r.get_floats(f"{block}.long_factor")),
    )


def read_window(r: MetadataReader, n_layers: int, window: int | None = None) -> tuple[int, ...]:
    """The window of each layer: as `layer_types` says, else the same in all.

    Args: window: what `sliding_window` says, None to read it.
    """
    found = r.get_int("sliding_window", 0) if window is None else window
    if not found:
        layer_windows(r, (0,) * n_layers)
        return ()
    return layer_windows(r, (found,) * n_layers)


def layer_windows(r: MetadataReader, usual: tuple[int, ...]) -> tuple[int, ...]:
    """The window of each layer, as `layer_types` says.

    Args: usual: those without `layer_types`; the largest is the window of the others.
    """
    kinds = list(r.get_strings("layer_types", ()))
    if not kinds:
        return usual
    if len(kinds) != len(usual):
        raise FormatError(f"layer_types: expected {len(usual)} names, found {len(kinds)}")
    for kind in kinds:
        reading.check_choice("layer_types", kind, ("full_attention", "sliding_attention"))
    window = max(usual, default=0)
    found = tuple(window if kind == "sliding_attention" else 0 for kind in kinds)
    return found if any(found) else ()


def _names_of_keys(names: HfNames) -> dict[str, str]:
    """What TransformerConfig checks, as config.json calls it."""
    return {
        "block_count": names.n_layers,
        "embedding_length": names.dim,
        "attention.head_count_kv": "num_key_value_heads",
        "attention.key_length": "head_dim",
        "attention.layer_norm_rms_epsilon": names.eps,
        "context_length": names.n_ctx,
        "rope.dimension_count": "head_dim",
        "rope.freq_base": "rope_theta",
        "rope.scaling.factor": "rope_scaling.factor",
        "rope.scaling.attn_factor": "rope_scaling.attention_factor",
        "rope.scaling.original_context_length": "original_max_position_embeddings",
        "rope.scaling.yarn_beta_fast": "rope_scaling.beta_fast",
        "rope short_divisors": "rope_scaling.short_factor",
        "rope long_divisors": "rope_scaling.long_factor",
        "attention.sliding_window": "sliding_window",
    }


_SCALING_KEYS = (
    "beta_fast", "beta_slow", "attention_factor", "low_freq_factor", "high_freq_factor",
    "short_factor", "long_factor",
)  # fmt: skip
_KEYS_OF_KIND = {
    "default": (),
    "linear": (),
    "yarn": ("beta_fast", "beta_slow", "attention_factor"),
    "llama3": ("low_freq_factor", "high_freq_factor"),
    "longrope": ("short_factor", "long_factor", "attention_factor"),
}
"""Which of them a kind of scaling reads."""

_ROPE_KEYS = (
    *_SCALING_KEYS, "rope_theta", "rope_type", "type", "factor", "partial_rotary_factor",
    "original_max_position_embeddings",
)  # fmt: skip


def rope_keys(block: str) -> frozenset[str]:
    """Keys of a block that tells of rotary positions."""
    return frozenset(f"{block}.{key}" for key in _ROPE_KEYS)


COMMON_KEYS = frozenset(
    {
        "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
        "rms_norm_eps", "rope_theta", "partial_rotary_factor", "layer_types", "sliding_window",
        "use_sliding_window", "original_max_position_embeddings",
        "attention_bias", "mlp_bias",  # the checkpoint's tensors say so themselves
        *rope_keys("rope_parameters"), *rope_keys("rope_scaling"),
    }
)  # fmt: skip
"""Keys of config.json whose names speak of the arithmetic and that are looked at."""
