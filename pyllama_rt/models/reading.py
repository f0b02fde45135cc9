"""Checks that every architecture's config makes on the numbers of a file."""

from __future__ import annotations

import math
from typing import Any

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.metadata import MetadataReader

MAX_LAYERS = 1 << 12
MAX_WIDTH = 1 << 24
MAX_CONTEXT = (1 << 32) - 1


def check_count(key: str, value: int, low: int, high: int) -> int:
    """`value`, if it lies in low … high.

    Raises: FormatError naming the key.
    """
    if not low <= value <= high:
        raise FormatError(f"{key}: expected {low} to {high}, found {value}")
    return value


def check_positive(key: str, value: float) -> float:
    """`value`, if it is finite and above zero.

    Raises: FormatError naming the key.
    """
    if not (math.isfinite(value) and value > 0):
        raise FormatError(f"{key}: expected a positive finite number, found {value}")
    return value


def per_layer(
    reader: MetadataReader, key: str, n_layers: int, default: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """A count for each layer; the file may hold one number for all, or an array.

    Raises: FormatError if an array has another length than n_layers, or a number is not positive.
    """
    found: Any = default
    if reader.has(key) or default is None:
        try:
            found = (reader.get_int(key),) * n_layers
        except FormatError:
            if not reader.has(key):
                raise
            found = tuple(reader.get_ints(key))
    if len(found) != n_layers:
        raise FormatError(f"{key}: expected {n_layers} numbers, one a layer, found {len(found)}")
    for value in found:
        check_count(key, value, 1, MAX_WIDTH)
    return tuple(found)


def check_heads(prefix: str, n_heads: tuple[int, ...], n_kv_heads: tuple[int, ...]) -> None:
    """Raises FormatError unless KV heads divide heads in every layer."""
    for layer, (q, kv) in enumerate(zip(n_heads, n_kv_heads, strict=True)):
        if q % kv:
            raise FormatError(
                f"{prefix}.head_count_kv: expected a divisor of {q} heads in layer {layer}, "
                f"found {kv}"
            )


def head_width(key: str, dim: int, n_heads: int) -> int:
    """dim / n_heads, for files that state no head width.

    Raises: FormatError if that is no whole number.
    """
    if dim % n_heads:
        raise FormatError(f"{key}: expected a divisor of the width {dim}, found {n_heads}")
    return dim // n_heads


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises FormatError unless value is one of choices."""
    if value not in choices:
        raise FormatError(f"{key}: expected {' or '.join(choices)}, found {shown(value)}")
