"""A checked reading position in the mapped bytes of a GGUF file."""

from __future__ import annotations

import struct
from pathlib import Path

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.formats.gguf_types import MAX_ARRAY_LENGTH

U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")


class Cursor:
    """A position in a buffer that refuses to leave it."""

    def __init__(self, data: memoryview, path: Path) -> None:
        self.data = data
        self.path = path
        self.position = 0
        self.strings_left = MAX_ARRAY_LENGTH

    @property
    def n_left(self) -> int:
        """Bytes between the position and the end."""
        return len(self.data) - self.position

    def error(self, field: str, *, expected: object, found: object, at: int) -> FormatError:
        """The refusal of `field`, which starts at byte `at`."""
        return FormatError.at(self.path, field, expected=expected, found=found, offset=at)

    def need(self, n_bytes: int, field: str) -> None:
        """Refuse unless `n_bytes` more bytes exist."""
        if n_bytes > self.n_left:
            raise self.error(
                field,
                expected=f"{n_bytes} bytes",
                found=f"{self.n_left} before the end of the file",
                at=self.position,
            )

    def skip(self, n_bytes: int, field: str) -> int:
        """Step over `n_bytes`; returns where they start."""
        self.need(n_bytes, field)
        start = self.position
        self.position = start + n_bytes
        return start

    def u32(self, field: str) -> int:
        """Read an unsigned 32-bit integer."""
        value: int = U32.unpack_from(self.data, self.skip(4, field))[0]
        return value

    def u64(self, field: str) -> int:
        """Read an unsigned 64-bit integer."""
        value: int = U64.unpack_from(self.data, self.skip(8, field))[0]
        return value

    def string(self, field: str, limit: int) -> tuple[int, int]:
        """Step over a string; returns where its bytes start and end."""
        start = self.position
        n_bytes = self.u64(f"length of {field}")
        if n_bytes > limit:
            raise self.error(
                f"length of {field}", expected=f"at most {limit} bytes", found=n_bytes, at=start
            )
        return self.skip(n_bytes, field), self.position

    def identifier(self, field: str, limit: int) -> str:
        """Read a key or a tensor name: not empty, UTF-8, printable.

        Control and bidirectional characters would change what a terminal shows.
        """
        at = self.position
        start, end = self.string(field, limit)
        raw = bytes(self.data[start:end])
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = ""
        if not text.isprintable() or not text:
            raise self.error(field, expected="printable UTF-8 text", found=shown(raw), at=at)
        return text
