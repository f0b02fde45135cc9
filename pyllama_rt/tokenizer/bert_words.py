"""What becomes of each character before BERT's WordPiece sees a word.

It follows llama.cpp, so that a file gives the same ids in both programs. Hugging Face's differs: it
strips only marks without a width (`Mn`), gives Hangul syllables all their parts where we keep the
first, drops U+000B, U+000C and U+0085, and knows marks and punctuation only up to Unicode 8.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenizers import Regex, normalizers, pre_tokenizers

_SPACES = frozenset(
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
"""Blocks of which each character is a word; 2B920 is a slip (2B820) that is part of the format."""

_MAX_KEPT = 1 << 16


class BertCharacters(dict[int, str]):
    """A table for `str.translate` after which words lie between spaces, filled as it is used."""

    def __init__(self, *, lowercase: bool, strip_accents: bool) -> None:
        """Args: lowercase, strip_accents: what is done to letters."""
        super().__init__()
        self._lowercase, self._strip_accents = lowercase, strip_accents
        # The library's tables are of one Unicode version, Python's of another for each Python.
        self._is_mark = _matcher(r"\p{M}")
        self._is_dropped = _matcher(r"[\p{Cc}\p{Cf}\p{Co}\x{0}\x{FFFD}]")
        self._is_sign = _matcher(r"[\p{P}$+<=>^`|~]")
        self._decompose, self._lower = normalizers.NFD(), normalizers.Lowercase()

    def __missing__(self, code: int) -> str:
        """What stands for a character; one that is needed again is kept."""
        if len(self) >= _MAX_KEPT:
            self.clear()
        self[code] = found = self._become(chr(code))
        return found

    def _become(self, char: str) -> str:
        if self._strip_accents:
            char = self._decompose.normalize_str(char)[0]
        if char in _SPACES:
            return " "
        if self._is_dropped(char) or (self._strip_accents and self._is_mark(char)):
            return ""
        alone = self._is_sign(char) or any(a <= ord(char) <= b for a, b in _CHINESE)
        if self._lowercase:
            char = self._lower.normalize_str(char)[0]
        return f" {char} " if alone else char


def _matcher(expression: str) -> Callable[[str], bool]:
    """Whether one character matches."""
    split = pre_tokenizers.Split(Regex(expression), "removed")
    return lambda char: not split.pre_tokenize_str(char)
