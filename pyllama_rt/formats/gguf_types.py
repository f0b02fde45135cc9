"""The vocabulary of GGUF: value types, tensor records, and the limits this project holds files to.

Source: GGUF specification (ggml repository, docs/gguf.md), versions 2 and 3; see docs/formats.md.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from pyllama_rt.formats.tensor_types import TensorType

MAGIC = b"GGUF"
VERSION = 3
READ_VERSIONS = (2, 3)
HEADER_BYTES = 24
DEFAULT_ALIGNMENT = 32
ALIGNMENT_KEY = "general.alignment"

# Real files stay far below these limits. They bound the time and memory that a sparse file, whose
# size on disk is nearly nothing, can cost while it is only being looked at.
MAX_KEYS = 4096
MAX_TENSORS = 1 << 16
MAX_KEY_BYTES = (1 << 16) - 1  # the specification's own limit
MAX_NAME_BYTES = 63  # ggml keeps names in 64 bytes with a NUL; a longer one loads nowhere else
MAX_DIMS = 4
MAX_STRING_BYTES = 1 << 26
MAX_ARRAY_LENGTH = 1 << 24
MIN_ALIGNMENT = 8  # the specification asks for a multiple of 8
MAX_ALIGNMENT = 1 << 20


class ValueType(IntEnum):
    """The type of a metadata value, by its id in the file."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


FORMAT_CODES: dict[ValueType, str] = {
    ValueType.UINT8: "B",
    ValueType.INT8: "b",
    ValueType.UINT16: "H",
    ValueType.INT16: "h",
    ValueType.UINT32: "I",
    ValueType.INT32: "i",
    ValueType.FLOAT32: "f",
    ValueType.BOOL: "B",
    ValueType.UINT64: "Q",
    ValueType.INT64: "q",
    ValueType.FLOAT64: "d",
}
"""`struct` code of every type of fixed size; a bool is a byte that must be 0 or 1."""

SCALARS: dict[ValueType, struct.Struct] = {
    value_type: struct.Struct("<" + code) for value_type, code in FORMAT_CODES.items()
}
"""Little-endian layout of every type of fixed size."""

FLOAT_TYPES = frozenset({ValueType.FLOAT32, ValueType.FLOAT64})
INT_TYPES = frozenset(SCALARS) - FLOAT_TYPES - {ValueType.BOOL}

Scalar: TypeAlias = "bool | int | float | str"
Value: TypeAlias = "bool | int | float | str | Sequence[bool | int | float | str]"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One row of the tensor directory, already checked against the file.

    shape: outermost dimension first, as in NumPy (the file stores the reverse).
    file_index: which mapping of `GgufFile.mappings` holds it. offset: absolute, in bytes.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    n_bytes: int
    file_index: int
    offset: int


def align_up(n_bytes: int, alignment: int) -> int:
    """The smallest multiple of `alignment` that is not below `n_bytes`."""
    return -(-n_bytes // alignment) * alignment
