"""Python values as the bytes of GGUF metadata."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.errors import ConfigError, shown
from pyllama_rt.formats.gguf_types import FORMAT_CODES, ValueType

_BY_DTYPE: dict[np.dtype[Any], ValueType] = {
    np.dtype("?" if value_type is ValueType.BOOL else code): value_type
    for value_type, code in FORMAT_CODES.items()
}
_INT_RANGES = {
    ValueType.UINT32: (0, 1 << 32),
    ValueType.INT32: (-1 << 31, 1 << 31),
    ValueType.UINT64: (0, 1 << 64),
    ValueType.INT64: (-1 << 63, 1 << 63),
}


def encode_string(text: str | bytes) -> bytes:
    """Length and UTF-8 bytes; `bytes` are taken as they are.

    Raises: ConfigError for text with lone surrogates, which UTF-8 cannot hold.
    """
    try:
        raw = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise ConfigError(f"text {shown(text)} cannot be written as UTF-8") from None
    return struct.pack("<Q", len(raw)) + raw


def encode_value(
    value: object, value_type: ValueType | None, element_type: ValueType | None
) -> bytes:
    """Type and value of a metadata key; types that are None are inferred.

    bool, float and str become BOOL, FLOAT32 and STRING; an int the first of UINT32, INT32, UINT64
    and INT64 that holds it; a sequence an ARRAY, whose integers share one such type; NumPy numbers
    and arrays keep their own type.

    Raises: ConfigError if the value has no GGUF type or does not fit the one given.
    """
    if isinstance(value, np.generic):
        value_type = _type_of(value.dtype) if value_type is None else value_type
        value = value.item()
    if isinstance(value, np.ndarray):
        if element_type is None:
            element_type = _type_of(value.dtype)
        value = _list_of(value)
    is_list = isinstance(value, (list, tuple))
    if value_type is None:
        value_type = ValueType.ARRAY if is_list else infer_type([value])
    if is_list is not (value_type is ValueType.ARRAY):
        raise ConfigError(f"expected a value for {value_type.name}, found {shown(value)}")
    head = struct.pack("<I", value_type)
    if not isinstance(value, (list, tuple)):
        return head + _encode_elements([value], value_type)
    element_type = infer_type(value) if element_type is None else element_type
    elements = _encode_elements(value, element_type)
    return head + struct.pack("<IQ", element_type, len(value)) + elements


def infer_type(values: Sequence[object]) -> ValueType:
    """The one type that all of `values` are stored in. Raises: ConfigError if there is none."""
    if not values:
        raise ConfigError("an empty list has no type of its own; give element_type")
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return ValueType.BOOL
    if kinds == {float}:
        return ValueType.FLOAT32
    if kinds <= {str, bytes}:
        return ValueType.STRING
    ints = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if len(ints) != len(values):
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ConfigError(f"expected one of bool, int, float and str, found {names}")
    for value_type, (low, end) in _INT_RANGES.items():
        if low <= min(ints) and max(ints) < end:
            return value_type
    raise ConfigError(f"no integer type of GGUF holds all of {shown(values)}")


def _encode_elements(values: Sequence[object], value_type: ValueType) -> bytes:
    if value_type is ValueType.ARRAY:
        raise ConfigError("arrays of arrays are not supported")
    wrong = ConfigError(f"expected values for {value_type.name}, found {shown(values)}")
    if value_type is ValueType.STRING:
        texts = [value for value in values if isinstance(value, (str, bytes))]
        if len(texts) != len(values):
            raise wrong
        return b"".join(map(encode_string, texts))
    wants_bool = value_type is ValueType.BOOL
    if any(isinstance(value, bool) is not wants_bool for value in values):
        raise wrong
    try:
        return struct.pack(f"<{len(values)}{FORMAT_CODES[value_type]}", *values)
    except (struct.error, OverflowError):
        raise wrong from None


def _type_of(dtype: np.dtype[Any]) -> ValueType:
    found = _BY_DTYPE.get(dtype.newbyteorder("="))
    if found is None:
        raise ConfigError(f"NumPy type {dtype} has no GGUF type; convert the array first")
    return found


def _list_of(array: NDArray[Any]) -> list[Any]:
    if array.ndim != 1:
        raise ConfigError(f"expected an array of one dimension, found {array.ndim}")
    values: list[Any] = array.tolist()
    return values
