"""The protobuf wire format, as much of it as a SentencePiece model needs."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pyllama_rt.errors import FormatError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Value = int | bytes
"""A varint or a little-endian fixed number as int; a length-delimited field as bytes."""


def varint(value: int) -> bytes:
    """`value` (not negative) in base 128, least significant group first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def int_field(number: int, value: int) -> bytes:
    """A varint field; a negative int32 takes ten bytes, as protobuf has it."""
    return varint(number << 3 | VARINT) + varint(value & 0xFFFFFFFFFFFFFFFF)


def bytes_field(number: int, value: bytes) -> bytes:
    """A length-delimited field: string, bytes or nested message."""
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def read_fields(data: bytes, file: str) -> Iterator[tuple[int, Value]]:
    """Yields (field number, value) for every field of one message.

    Args:
        data: The message. file: Name for error messages.
    Raises:
        FormatError if a field does not fit in `data` or has an unknown wire type.
    """
    for number, value, _ in read_placed_fields(data, file):
        yield number, value


def read_placed_fields(data: bytes, file: str) -> Iterator[tuple[int, Value, int]]:
    """Yields what `read_fields` does, and where in `data` each field ends."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _read_varint(data, at, file)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise FormatError.at(
                file, "protobuf field number", expected="1 or more", found=0, offset=start
            )
        if kind == VARINT:
            value, at = _read_varint(data, at, file)
            yield number, value, at
            continue
        if kind == BYTES:
            size, at = _read_varint(data, at, file)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise FormatError.at(
                file, "protobuf wire type", expected="0, 1, 2 or 5", found=kind, offset=start
            )
        if size > len(data) - at:
            found = f"{len(data) - at} bytes left"
            raise FormatError.at(
                file,
                f"protobuf field {number}",
                expected=f"{size} bytes",
                found=found,
                offset=start,
            )
        chunk = data[at : at + size]
        at += size
        yield number, chunk if kind == BYTES else int.from_bytes(chunk, "little"), at


def as_float(value: Value) -> float:
    """The float whose bits a fixed32 field holds."""
    bits = value if isinstance(value, int) else 0
    return float(struct.unpack("<f", (bits & 0xFFFFFFFF).to_bytes(4, "little"))[0])


def as_int32(value: Value) -> int:
    """The signed int32 that a varint field holds."""
    bits = value if isinstance(value, int) else 0
    low = bits & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low


def as_bytes(value: Value) -> bytes:
    """The bytes of a length-delimited field; empty for a field of another wire type."""
    return value if isinstance(value, bytes) else b""


def _read_varint(data: bytes, at: int, file: str) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if at + i >= len(data):
            raise FormatError.at(
                file, "protobuf varint", expected="more bytes", found="end of message", offset=at
            )
        byte = data[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + i + 1
    raise FormatError.at(
        file, "protobuf varint", expected="at most 10 bytes", found="more", offset=at
    )
