"""Bytes in a text that are not UTF-8: the surrogates that Python reads them as."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SURROGATES = re.compile("[\ud800-\udfff]")
_NO_BYTES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_STRAY = re.compile("([\udc80-\udcff]+)")


def has_surrogates(text: str) -> bool:
    """Whether `text` is no text that UTF-8 can hold."""
    return not text.isascii() and _SURROGATES.search(text) is not None


def without_surrogates(text: str) -> str:
    """`text` with U+FFFD, as decoders have it, for each."""
    return _SURROGATES.sub("\ufffd", text)


def cut_at_stray_bytes(text: str) -> Iterator[tuple[str, bytes]]:
    """Yields (text, the stray bytes behind it); half a surrogate pair is no byte but U+FFFD."""
    parts = _STRAY.split(_NO_BYTES.sub("\ufffd", text))
    for i in range(0, len(parts), 2):
        stray = parts[i + 1] if i + 1 < len(parts) else ""
        yield parts[i], bytes(ord(char) - 0xDC00 for char in stray)
