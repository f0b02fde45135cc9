"""Reader of safetensors files: the header is checked whole before a tensor is looked at.

The safetensors library reads the same files, but its errors name neither offset nor expectation,
and its NumPy side knows no bfloat16; the bytes below are few enough to check here.
Source: README of huggingface/safetensors, "Format".
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.formats.json_object import parse_json_object
from pyllama_rt.formats.tensor_file import MAX_DIMS, StoredTensor, TensorFile

MAX_HEADER_BYTES = 1 << 25
"""Enough for ten times the tensors of any model; the reference implementation takes 100 MB, which
would cost gigabytes to parse.
"""

_LENGTH_BYTES = 8

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


class SafetensorsFile(TensorFile):
    """A mapped safetensors file; `tensors` are in the order of the data."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Map and check a file.

        Raises: ConfigError if it cannot be opened; FormatError naming the field that is wrong.
        """
        super().__init__(path, _parse)


def _parse(view: memoryview, path: Path) -> dict[str, StoredTensor]:
    if len(view) < _LENGTH_BYTES:
        raise FormatError.at(
            path, "header length", expected="8 bytes", found=f"{len(view)}", offset=0
        )
    n_header = int.from_bytes(view[:_LENGTH_BYTES], "little")
    limit = min(MAX_HEADER_BYTES, len(view) - _LENGTH_BYTES)
    if not 2 <= n_header <= limit:
        raise FormatError.at(
            path, "header length", expected=f"2 to {limit} bytes", found=n_header, offset=0
        )
    data_start = _LENGTH_BYTES + n_header
    header = parse_json_object(bytes(view[_LENGTH_BYTES:data_start]), path, "header")
    header.pop("__metadata__", None)
    found = [_entry(name, value, data_start, path) for name, value in header.items()]
    found.sort(key=lambda entry: (entry.start, entry.stop))
    _check_extents(found, data_start, len(view), path)
    return {entry.name: entry for entry in found}


def _entry(name: str, value: Any, data_start: int, path: object) -> StoredTensor:
    field = f"tensor {shown(name)}"
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise FormatError.at(
            path, field, expected="dtype, shape and data_offsets", found=shown(value)
        )
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise FormatError.at(path, f"{field}: dtype", expected="a known one", found=shown(dtype))
    if not _is_counts(shape) or len(shape) > MAX_DIMS:
        raise FormatError.at(
            path, f"{field}: shape", expected=f"up to {MAX_DIMS} sizes", found=shown(shape)
        )
    if not _is_counts(offsets) or len(offsets) != 2:
        raise FormatError.at(
            path, f"{field}: data_offsets", expected="two offsets", found=shown(offsets)
        )
    n_bits = math.prod(shape) * _BITS[dtype]
    if n_bits != 8 * (offsets[1] - offsets[0]):
        raise FormatError.at(
            path,
            f"{field}: data_offsets",
            expected=f"{n_bits // 8} bytes for {dtype} of shape {shown(shape)}",
            found=f"{offsets[1] - offsets[0]}",
        )
    return StoredTensor(name, dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _is_counts(value: Any) -> bool:
    """Whether it is a list of whole numbers that a 64-bit size can hold."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in value)


def _check_extents(entries: list[StoredTensor], start: int, end: int, path: object) -> None:
    """The data must follow one another from `start` to `end`, without gap or overlap."""
    for entry in entries:
        if entry.start != start:
            kind = "a gap" if entry.start > start else "an overlap"
            raise FormatError.at(
                path,
                f"tensor {shown(entry.name)}",
                expected=f"data from byte {start}, where the one before ends",
                found=f"{kind}: byte {entry.start}",
            )
        start = entry.stop
    if start != end:
        raise FormatError.at(
            path, "size of the file", expected=f"{start} bytes, the end of the data", found=end
        )
