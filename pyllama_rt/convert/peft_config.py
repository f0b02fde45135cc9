"""`adapter_config.json` of a peft directory: what it says about the product of two matrices."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.errors import ConfigError, UnsupportedError, did_you_mean, shown

CONFIG = "adapter_config.json"

_READ = frozenset(
    {
        "peft_type", "r", "lora_alpha", "bias", "fan_in_fan_out", "use_rslora", "rank_pattern",
        "alpha_pattern", "modules_to_save", "init_lora_weights", "use_dora",
    }
)  # fmt: skip
_IGNORED = frozenset(
    {
        # Where from, and how it was trained.
        "auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "inference_mode",
        "lora_dropout", "parent_library", "peft_version", "revision", "task_type",
        # Which tensors: the adapter's own say so.
        "exclude_modules", "layers_pattern", "layers_to_transform", "target_modules",
        # Of kinds of initialisation, which `init_lora_weights` names.
        "corda_config", "eva_config", "loftq_config", "lora_ga_config",
        # How the library computes; the group size belongs to `use_qalora`.
        "megatron_config", "megatron_core", "merge_weights", "qalora_group_size", "runtime_config",
    }
)  # fmt: skip
"""Keys that change nothing about `W + scale · B · A`. Others must be off."""

# Other kinds change the base's weights before training, so that the product alone is not enough.
_PLAIN_STARTS = (True, False, "gaussian", "eva", "orthogonal")

_SAFE_PATTERN = re.compile(r"(?:[\w-]|\.\*?|\\\.|\\d\+?|\[[\w-]+\]\+?|[()|^$])+", re.ASCII)
"""Regular expressions that take polynomial time on any name: nothing is repeated but one character
or class.
"""

_MAX_PATTERN_CHARS = 512
_MAX_REPEATS = 2
_MAX_PATTERNS = 1 << 12
_MAX_ALPHA = 1e30


@dataclass(frozen=True)
class PeftConfig:
    """The part of the configuration that a merge needs.

    transposed: whether the base stores its matrices as (in, out). modules_to_save: names of modules
    that the adapter replaces as a whole.
    """

    source: Path
    r: int
    alpha: float
    is_rank_stabilized: bool
    transposed: bool
    modules_to_save: tuple[str, ...]
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]

    def rank(self, module: str) -> int:
        """The rank that a module has."""
        key = _matching(self.rank_pattern, module)
        return self.r if key is None else self.rank_pattern[key]

    def scale(self, module: str) -> float:
        """The factor before the product."""
        key = _matching(self.alpha_pattern, module)
        alpha = self.alpha if key is None else self.alpha_pattern[key]
        rank = self.rank(module)
        return alpha / (math.sqrt(rank) if self.is_rank_stabilized else rank)


def read_peft_config(folder: Path) -> PeftConfig:
    """The configuration of an adapter.

    Raises: ConfigError if the folder holds no adapter; FormatError for impossible values;
        UnsupportedError for methods that are more than a product added to the weights.
    """
    path = folder / CONFIG
    if not path.exists():
        raise ConfigError(
            f"{folder}: expected a peft adapter's folder, found no {CONFIG} in it; name the folder "
            "that was saved with save_pretrained, or a GGUF adapter file"
        )
    reader = JsonMetadata.read(path)
    _check_method(reader)
    return PeftConfig(
        source=path,
        r=_rank(reader, "r", reader.get_int("r", 8)),
        alpha=_alpha(reader, "lora_alpha", reader.get_float("lora_alpha", 8.0)),
        is_rank_stabilized=reader.get_bool("use_rslora", False),
        transposed=reader.get_bool("fan_in_fan_out", False),
        modules_to_save=tuple(reader.get_strings("modules_to_save", ())),
        rank_pattern={
            key: _rank(reader, f"rank_pattern of {shown(key)}", value)
            for key, value in _pattern(reader, "rank_pattern").items()
        },
        alpha_pattern={
            key: _alpha(reader, f"alpha_pattern of {shown(key)}", value)
            for key, value in _pattern(reader, "alpha_pattern").items()
        },
    )


def _check_method(reader: JsonMetadata) -> None:
    kind = reader.get_str("peft_type")
    if kind != "LORA":
        raise UnsupportedError(
            f"{reader.source}: peft_type: adapters of type {shown(kind)} are not supported"
            f"{did_you_mean(kind, ['LORA'])}; known: LORA"
        )
    bias = reader.get("bias")
    if bias not in (None, "none"):
        raise UnsupportedError(
            f"{reader.source}: bias: adapters that train biases are not supported: expected "
            f"'none', found {shown(bias)}"
        )
    if reader.get_bool("use_dora", False):
        raise UnsupportedError(
            f"{reader.source}: use_dora: DoRA, which rescales the weights too, is not supported; "
            "merge it with peft's merge_and_unload"
        )
    start = reader.get("init_lora_weights")
    if start is not None and start not in _PLAIN_STARTS:
        raise UnsupportedError(
            f"{reader.source}: init_lora_weights: {shown(start)} changes the base before training; "
            "save the adapter again with path_initial_model_for_weight_conversion"
        )
    for key, value in reader.values.items():
        if key not in _READ | _IGNORED and value not in (None, False, "", [], {}):
            raise UnsupportedError(
                f"{reader.source}: {shown(key)}: {shown(value)} may be more than a product added "
                "to the weights, which is all that is supported; if it is not, remove the key"
            )


def _rank(reader: JsonMetadata, key: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise reader.error(key, "a rank of 1 or more", value)
    return value


def _alpha(reader: JsonMetadata, key: str, value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and 0 < value < _MAX_ALPHA):
        raise reader.error(key, "a finite number above 0", value)
    return float(value)


def _pattern(reader: JsonMetadata, key: str) -> dict[str, Any]:
    found = reader.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise reader.error(key, "numbers by module", found)
    if len(found) > _MAX_PATTERNS:
        raise reader.error(key, f"up to {_MAX_PATTERNS} entries", len(found))
    for pattern in found:
        n_repeats = pattern.count("*") + pattern.count("+")
        is_safe = _SAFE_PATTERN.fullmatch(pattern) and n_repeats <= _MAX_REPEATS
        if len(pattern) > _MAX_PATTERN_CHARS or not is_safe or not _compiles(pattern):
            raise UnsupportedError(
                f"{reader.source}: {key}: {shown(pattern)} is not supported; expected a name of "
                "modules or a simple regular expression"
            )
    return found


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _matching(patterns: Mapping[str, object], module: str) -> str | None:
    """The first pattern that the module's name, or a part of it after a dot, matches wholly."""
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), None)
