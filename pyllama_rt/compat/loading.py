"""What users of llama-cpp-python choose when they load a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyllama_rt.config import LoraConfig, RopeConfig
from pyllama_rt.errors import ConfigError, shown

_POOLINGS = {-1: None, 1: "mean", 2: "cls", 3: "last"}
"""Names of llama.cpp's numbers of a pooling."""

_KINDS = {None: None, -1: None, 0: "none", 1: "linear", 2: "yarn"}
"""Names of llama.cpp's numbers of a scaling type."""


def load_choices(given: Mapping[str, object]) -> dict[str, Any]:
    """Fields of LoadConfig by their names.

    Args: given: arguments of `Llama`: rope_scaling_type, rope_freq_base, rope_freq_scale and yarn_*
        stretch rotary positions; embedding gives vectors instead of logits, pooled as pooling_type
        says; lora_path and lora_scale add an adapter.
    Raises: ConfigError for what has no counterpart.
    """
    pooling = given.get("pooling_type", -1)
    if isinstance(pooling, bool) or pooling not in _POOLINGS:
        raise ConfigError(f"pooling_type: expected -1, 1, 2 or 3, found {shown(pooling)}")
    path = given.get("lora_path")
    if path is not None and not isinstance(path, str):
        raise ConfigError(f"lora_path: expected a path as text, found {shown(path)}")
    return {
        "loras": (LoraConfig(path, _number(given, "lora_scale", 1.0)),) if path else (),
        "rope": rope_config(given),
        "embedding": bool(given.get("embedding", False)),
        "pooling": _POOLINGS[pooling],
    }


def rope_config(given: Mapping[str, object]) -> RopeConfig:
    """The arguments of `Llama` that concern rotary positions; 0 means what the file says.

    Raises: ConfigError for what has no counterpart.
    """
    kind = given.get("rope_scaling_type")
    if not (kind is None or isinstance(kind, int)) or kind not in _KINDS:
        raise ConfigError(f"rope_scaling_type: expected -1, 0, 1 or 2, found {shown(kind)}")
    name = _KINDS[kind]
    scale = _number(given, "rope_freq_scale", 0.0)
    if not (scale == 0 or 0 < scale <= 1):
        raise ConfigError(f"rope_freq_scale: expected a number up to 1, found {scale}")
    if _number(given, "yarn_ext_factor", -1.0) not in (-1.0, 1.0):
        raise ConfigError("yarn_ext_factor: expected -1 or 1")
    original = int(_number(given, "yarn_orig_ctx", 0.0))
    return RopeConfig(
        kind=name,
        factor=1.0 / scale if scale not in (0.0, 1.0) else None,
        base=_number(given, "rope_freq_base", 0.0) or None,
        n_ctx_original=original or None,
        attn_factor=_number(given, "yarn_attn_factor", 1.0),
        beta_fast=_number(given, "yarn_beta_fast", 32.0),
        beta_slow=_number(given, "yarn_beta_slow", 1.0),
    )


def _number(given: Mapping[str, object], name: str, default: float) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{name}: expected a number, found {shown(value)}")
    return float(value)
