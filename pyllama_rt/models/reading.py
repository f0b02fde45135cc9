"""Checks that every architecture's config makes on the numbers of a file."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pyllama_rt.errors import FormatError, UnsupportedError, shown
from pyllama_rt.metadata import MetadataReader

MAX_LAYERS = 1 << 12
MAX_WIDTH = 1 << 24
MAX_CONTEXT = (1 << 32) - 1
MAX_EXPERTS = 1 << 12

_F32 = struct.Struct("<f")


def check_count(key: str, value: int, low: int, high: int) -> int:
    """`value`, if it lies in low … high.

    Raises: FormatError naming the key.
    """
    if not low <= value <= high:
        raise FormatError(f"{key}: expected {low} to {high}, found {shown(value)}")
    return value


def check_positive(key: str, value: float) -> float:
    """`value`, if it is finite and above zero in single precision, which it is stored in.

    Raises: FormatError naming the key.
    """
    try:
        stored = _F32.unpack(_F32.pack(value))[0]
    except OverflowError:
        stored = math.inf
    if not (math.isfinite(stored) and stored > 0):
        raise FormatError(
            f"{key}: expected a positive finite number in single precision, found {value}"
        )
    return value


def per_layer(
    reader: MetadataReader, key: str, n_layers: int, default: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """A count for each layer; the file may hold one number for all, or an array.

    Raises: FormatError if an array has another length than n_layers, or a number is not positive.
    """
    n_found = reader.length(key)
    if n_found is None:
        if default is not None and not reader.has(key):
            return default
        return (check_count(key, reader.get_int(key), 1, MAX_WIDTH),) * n_layers
    if n_found != n_layers:
        raise FormatError(f"{key}: expected {n_layers} numbers, one a layer, found {n_found}")
    return tuple(check_count(key, value, 1, MAX_WIDTH) for value in reader.get_ints(key))


def n_strings(reader: MetadataReader, key: str) -> int:
    """The number of strings in an array, which are not decoded. Raises: FormatError."""
    found = reader.length(key)
    return len(reader.get_strings(key)) if found is None else found


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
    """Raises UnsupportedError unless value is one of choices."""
    if value not in choices:
        raise UnsupportedError(
            f"{key}: {shown(value)} is not supported yet; known: {', '.join(choices)}"
        )


@contextmanager
def renamed(keys: Mapping[str, str]) -> Iterator[None]:
    """Lets a config's checks, which name GGUF keys, name those of the format that was read."""
    try:
        yield
    except (FormatError, UnsupportedError) as error:
        key, _, rest = str(error).partition(": ")
        if key not in keys:
            raise
        raise type(error)(f"{keys[key]}: {rest}") from None


@contextmanager
def prefixed(architecture: str) -> Iterator[None]:
    """Puts the architecture before the keys that a config's checks name without it."""
    try:
        yield
    except (FormatError, UnsupportedError) as error:
        raise type(error)(f"{architecture}.{error}") from None
