"""Cuts text at special pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_PREFIX_CHARS = 4
_MAX_PREFIXES = 256


class SpecialPieces:
    """Finds the leftmost, longest of a set of pieces.

    A compiled expression finds where a piece may begin (few places in real text), a table decides
    which it is; so neither thousands of pieces nor long texts cost much.
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        """Takes the ids by text; no text may be empty."""
        self._ids = dict(ids)
        width = _PREFIX_CHARS
        while len({text[:width] for text in ids}) > _MAX_PREFIXES and width > 1:
            width -= 1
        self._width = width
        lengths: dict[str, set[int]] = {}
        for text in ids:
            lengths.setdefault(text[:width], set()).add(len(text))
        # A prefix that is itself shorter than the width also begins the longer ones.
        for prefix in sorted(lengths, key=len, reverse=True):
            for short in (prefix[:n] for n in range(1, len(prefix))):
                if short in lengths:
                    lengths[prefix] |= lengths[short]
        self._lengths = {key: sorted(values, reverse=True) for key, values in lengths.items()}
        longest_first = sorted(self._lengths, key=len, reverse=True)
        self._start = re.compile("|".join(map(re.escape, longest_first))) if ids else None

    def cut(self, text: str) -> Iterator[tuple[str, int | None]]:
        """Yields (text before a piece, id of the piece), last (rest of the text, None)."""
        begin = at = 0
        while self._start is not None and (match := self._start.search(text, at)):
            start = match.start()
            at = start + 1
            for length in self._lengths[match.group()]:
                token = self._ids.get(text[start : start + length])
                if token is not None:
                    yield text[begin:start], token
                    begin = at = start + length
                    break
        yield text[begin:], None

    def found_in(self, text: str) -> bool:
        """Whether `text` contains any of the pieces."""
        if self._start is None or self._start.search(text) is None:
            return False
        return next(self.cut(text))[1] is not None
