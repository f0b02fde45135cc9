"""Parses the header, metadata and tensor directory of one GGUF file out of its mapped bytes.

Every count is compared with the bytes that are left before a loop starts, and every size is a
Python integer compared with the size of the file, so nothing that a file declares can wrap or size
an allocation. Values are not decoded here: an entry records where they lie.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from pyllama_rt.errors import UnsupportedError, shown
from pyllama_rt.formats.gguf_cursor import U32, U64, Cursor
from pyllama_rt.formats.gguf_directory import parse_directory
from pyllama_rt.formats.gguf_types import (
    ALIGNMENT_KEY,
    DEFAULT_ALIGNMENT,
    HEADER_BYTES,
    MAGIC,
    MAX_ALIGNMENT,
    MAX_ARRAY_LENGTH,
    MAX_KEY_BYTES,
    MAX_KEYS,
    MAX_STRING_BYTES,
    MAX_TENSORS,
    MIN_ALIGNMENT,
    READ_VERSIONS,
    SCALARS,
    TensorInfo,
    ValueType,
)

_MIN_KEY_BYTES = 8 + 1 + 4 + 1  # length, one character, type, a one-byte value
_MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8  # length, one character, n_dims, one dim, type, offset


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a metadata value lies: bytes `start` to `end`.

    A string starts with its length; `element` and `count` describe an array, whose elements only
    lie there.
    """

    type: ValueType
    start: int
    end: int
    element: ValueType | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """The checked contents of one file."""

    version: int
    alignment: int
    entries: dict[str, Entry]
    tensors: list[TensorInfo]


def parse(data: memoryview, path: Path, file_index: int) -> ParsedFile:
    """Parse one file.

    Args:
        data: the whole file. path: for messages. file_index: put into every `TensorInfo`.

    Raises: FormatError for bytes that break the format; UnsupportedError for other versions, byte
        orders, nested arrays and tensor types.
    """
    cursor = Cursor(data, path)
    version, n_tensors, n_keys = _parse_header(cursor)
    entries = _parse_metadata(cursor, n_keys)
    alignment = _alignment(cursor, entries)
    tensors = parse_directory(cursor, n_tensors, alignment, file_index)
    return ParsedFile(version, alignment, entries, tensors)


def _parse_header(cursor: Cursor) -> tuple[int, int, int]:
    """Returns version, number of tensors, number of keys."""
    if bytes(cursor.data[:4]) != MAGIC:
        raise cursor.error("magic", expected=MAGIC, found=bytes(cursor.data[:4]), at=0)
    cursor.need(HEADER_BYTES, "header")
    cursor.skip(4, "magic")
    version = cursor.u32("version")
    if version not in READ_VERSIONS:
        _refuse_version(cursor, version)
    n_tensors = _count(cursor, "number of tensors", _MIN_TENSOR_BYTES, MAX_TENSORS)
    n_keys = _count(cursor, "number of metadata keys", _MIN_KEY_BYTES, MAX_KEYS)
    return version, n_tensors, n_keys


def _refuse_version(cursor: Cursor, version: int) -> None:
    path = cursor.path
    if version == 0:
        raise cursor.error("version", expected="2 or 3", found=0, at=4)
    if version & 0xFFFF == 0:
        raise UnsupportedError(
            f"{path}: the file is big-endian; convert it to little-endian with a tool of its maker"
        )
    if version == 1:
        raise UnsupportedError(
            f"{path}: GGUF version 1 is too old (versions 2 and 3 are read); convert the model "
            "again from its checkpoint"
        )
    raise UnsupportedError(
        f"{path}: GGUF version {version} is newer than this program (it reads 2 and 3)"
    )


def _count(cursor: Cursor, field: str, min_bytes: int, limit: int) -> int:
    """Read a number of records, each of at least `min_bytes`, that must fit into the file."""
    at = cursor.position
    count = cursor.u64(field)
    possible = min((len(cursor.data) - HEADER_BYTES) // min_bytes, limit)
    if count > possible:
        raise cursor.error(field, expected=f"at most {possible}", found=count, at=at)
    return count


def _parse_metadata(cursor: Cursor, n_keys: int) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for index in range(n_keys):
        at = cursor.position
        key = cursor.identifier(f"key {index}", MAX_KEY_BYTES)
        if key in entries:
            raise cursor.error(f"key {index}", expected="a new key", found=shown(key), at=at)
        entries[key] = _parse_value(cursor, shown(key))
    return entries


def _value_type(cursor: Cursor, field: str) -> ValueType:
    at = cursor.position
    number = cursor.u32(field)
    if number >= len(ValueType):
        raise cursor.error(field, expected="a value type from 0 to 12", found=number, at=at)
    return ValueType(number)


def _parse_value(cursor: Cursor, key: str) -> Entry:
    value_type = _value_type(cursor, f"type of {key}")
    if value_type is ValueType.ARRAY:
        return _parse_array(cursor, key)
    if value_type is ValueType.STRING:
        start = cursor.position
        cursor.string(f"value of {key}", MAX_STRING_BYTES)
        return Entry(value_type, start, cursor.position)
    start = cursor.skip(SCALARS[value_type].size, f"value of {key}")
    if value_type is ValueType.BOOL and cursor.data[start] > 1:
        found = cursor.data[start]
        raise cursor.error(f"value of {key}", expected="a bool, 0 or 1", found=found, at=start)
    return Entry(value_type, start, cursor.position)


def _parse_array(cursor: Cursor, key: str) -> Entry:
    element = _value_type(cursor, f"element type of {key}")
    if element is ValueType.ARRAY:
        raise UnsupportedError(f"{cursor.path}: {key}: arrays of arrays are not supported")
    at = cursor.position
    count = cursor.u64(f"length of {key}")
    size = 8 if element is ValueType.STRING else SCALARS[element].size
    possible = min(cursor.n_left // size, MAX_ARRAY_LENGTH)
    if count > possible:
        raise cursor.error(
            f"length of {key}", expected=f"at most {possible} elements", found=count, at=at
        )
    start = cursor.position
    if element is ValueType.STRING:
        _skip_strings(cursor, count, key)
    else:
        cursor.skip(count * size, f"elements of {key}")
    return Entry(ValueType.ARRAY, start, cursor.position, element, count)


def _skip_strings(cursor: Cursor, count: int, key: str) -> None:
    """Step over `count` strings: the hot loop of opening a file with a large vocabulary.

    It looks at nothing but the lengths; one that leaves the file makes the next read fail, and only
    then is the place of the fault looked for.
    """
    if count > cursor.strings_left:
        raise cursor.error(
            f"length of {key}",
            expected=f"at most {MAX_ARRAY_LENGTH} strings in the whole file",
            found=f"{count} more",
            at=cursor.position,
        )
    cursor.strings_left -= count
    data, position, unpack = cursor.data, cursor.position, U64.unpack_from
    try:
        for _ in repeat(None, count):
            position += unpack(data, position)[0] + 8
    except (struct.error, OverflowError):
        position = len(data) + 1
    n_bytes = position - cursor.position
    if position <= len(data) and n_bytes > MAX_STRING_BYTES:
        raise cursor.error(
            f"elements of {key}",
            expected=f"at most {MAX_STRING_BYTES} bytes",
            found=n_bytes,
            at=cursor.position,
        )
    if position > len(data):
        for index in range(count):
            cursor.string(f"element {index} of {key}", MAX_STRING_BYTES)
    cursor.position = position


def _alignment(cursor: Cursor, entries: dict[str, Entry]) -> int:
    entry = entries.get(ALIGNMENT_KEY)
    if entry is None:
        return DEFAULT_ALIGNMENT
    if entry.type is not ValueType.UINT32:
        raise cursor.error(
            ALIGNMENT_KEY, expected="type UINT32", found=entry.type.name, at=entry.start
        )
    value: int = U32.unpack_from(cursor.data, entry.start)[0]
    if value & (value - 1) or not MIN_ALIGNMENT <= value <= MAX_ALIGNMENT:
        raise cursor.error(
            ALIGNMENT_KEY,
            expected=f"a power of two from {MIN_ALIGNMENT} to {MAX_ALIGNMENT}",
            found=value,
            at=entry.start,
        )
    return value
