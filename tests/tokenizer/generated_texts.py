"""Texts on which tokenizers tend to differ, the same for the same seed."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Iterator, Sequence

_WORDS = (
    "the", "The", "THE", "iPhone", "HTTPServer", "naïve", "ÉCOLE", "Straße", "привет", "МИР",
    "ελληνικά", "ΣΊΓΜΑ", "中文", "法国的", "日本語", "カタカナ", "한국어", "ไทย", "हिन्दी",
    "தமிழ்", "العربية", "עברית", "ქართული", "ՀԱՅ", "አማርኛ", "ǅungla", "ﬁn", "ªº", "ʰə", "𝒳𝔸",
    "𐐀𐐨", "e\u0301te\u0301", "Z\u0335\u0334a", "ı", "İ", "ſ", "\u212a", "def", "return", "x_1",
    "foo.bar", "a-b", "C++", "don", "we", "I",
)  # fmt: skip
_CONTRACTIONS = (
    "'s", "'S", "'t", "'T", "'re", "'RE", "'Re", "'ve", "'VE", "'m", "'M", "'ll", "'LL", "'lL",
    "'d", "'D", "'x", "''", "'", "’s", "'ſ", "'ß",
)  # fmt: skip
_NUMBERS = (
    "0", "1", "12", "123", "1234", "1234567", "3.14", "1,000", "½", "²", "Ⅷ", "１２３", "٣٤",
    "१२", "㊿",
)  # fmt: skip
_SPACES = (
    " ", " ", " ", "  ", "   ", "    ", "        ", "\t", "\t\t", "\n", "\n\n", "\n\n\n",
    "\r\n", "\r", "\v", "\f", "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u2003",
    "\u2009\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u200b", "\ufeff", " \n",
    "\n ", "\t \n  ",
)  # fmt: skip
_SIGNS = (
    ".", ",", "!", "?", ";", ":", "...", "—", "…", "。", "、", "「", "」", "！", "～", "(", ")",
    "[]", "{}", "<", ">", "==", "!=", "->", "//", "/*", "#", "$", "€", "%", "^", "&", "*", "+",
    "~", "`", "|", "\\", "_", "__", "@", "°", "©", "™", "→", "∑", "≠", "☃", "▁", "Ġ", "Ċ", "¡",
    "¿", "«", "\xad",
)  # fmt: skip
_EMOJI = (
    "😀", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "🇫🇷", "👍🏽", "❤️", "🏳️‍🌈",
    "\U0001f1eb", "\u200d",
)  # fmt: skip
_ODD = (
    "\x00", "\x01", "\x1b", "\x7f", "\x80", "\ue000", "\uf8ff", "\U000f0000", "\U0010ffff",
    "\u0378", "\u0560", "\ufdd0", "\uffff", "\ufffd", "\U000e0041", "\u0301", "\u0300\u0323",
    "\u20dd", "\u093f", "\u1ab0", "\U0002a700", "\U00030000", "\U000323af", "\u9fff", "\u4dbf",
    "\u3400", "\U0001e900", "\u061c",
)  # fmt: skip
INVALID = (b"\xff", b"\xfe", b"\xc3", b"\x80", b"\xe4\xb8", b"\xf0\x9f\x98", b"\xf5", b"\xbf\xbf")
"""Bytes that are not UTF-8, on which decoders agree what is invalid."""


_NEW = (
    "897 1B4E-1B4F 1B7F 1C89-1C8A 2427-2429 31E4-31E5 A7CB-A7CD A7DA-A7DC 105C0-105F3 "
    "10D40-10D65 10D69-10D85 10D8E-10D8F 10EC2-10EC4 10EFC 11380-113E2 116D0-116E3 11BC0-11BF9 "
    "11F5A 13460-143FA 16100-16139 16D40-16D79 18CFF 1CC00-1CEB3 1E5D0-1E5FF 1F8B2-1F8C1 1FA89 "
    "1FA8F 1FABE 1FAC6 1FADC 1FADF 1FAE9 1FBCB-1FBEF "
)
"""Blocks with code points new in Unicode 16: libraries differ in whether they know them."""

NEW_CHARACTERS = frozenset(
    chr(code)
    for first, _, last in (part.partition("-") for part in _NEW.split())
    for code in range(int(first, 16), int(last or first, 16) + 1)
)


def texts(
    seed: int, count: int, *, special: Sequence[str] = (), old: bool = False
) -> Iterator[str]:
    """Yields `count` texts of up to some 150 characters, all of them UTF-8.

    Args:
        special: Pieces to strew in, whole and broken.
        old: Only code points of Unicode 3.2, so that a library with newer tables gives the same.
    """
    rng = random.Random(seed)
    kinds: list[tuple[float, Callable[[], str]]] = [
        (8, lambda: rng.choice(_WORDS)),
        (2, lambda: _word(rng)),
        (2, lambda: rng.choice(_WORDS) + rng.choice(_CONTRACTIONS)),
        (1, lambda: rng.choice(_CONTRACTIONS)),
        (3, lambda: rng.choice(_NUMBERS)),
        (10, lambda: rng.choice(_SPACES)),
        (1, lambda: rng.choice(_SPACES) * rng.randrange(1, 20)),
        (5, lambda: rng.choice(_SIGNS)),
        (1, lambda: rng.choice(_EMOJI)),
        (1, lambda: rng.choice(_ODD)),
        (2, lambda: _any_character(rng)),
    ]
    if special:
        kinds += [
            (2, lambda: rng.choice(special)),
            (1, lambda: _broken(rng, rng.choice(special))),
        ]
    weights, makers = zip(*kinds, strict=True)
    for _ in range(count):
        chosen = rng.choices(makers, weights, k=rng.randrange(1, 24))
        text = "".join(make() for make in chosen)
        yield "".join(filter(_is_old, text)) if old else text


def with_invalid_bytes(seed: int, source: Iterator[str]) -> Iterator[bytes]:
    """The texts with bytes that are not UTF-8 in between."""
    rng = random.Random(seed)
    for text in source:
        at = rng.randrange(len(text) + 1)
        data = text[:at].encode() + rng.choice(INVALID) + b"." + text[at:].encode()
        yield data


def _is_old(char: str) -> bool:
    return unicodedata.ucd_3_2_0.category(char) != "Cn"


def _word(rng: random.Random) -> str:
    """A word of one script in mixed case."""
    first, last = rng.choice(
        ((0x41, 0x7A), (0xC0, 0x17F), (0x391, 0x3C9), (0x410, 0x44F), (0x4E00, 0x9FFF),
         (0x3041, 0x30FF), (0xAC00, 0xD7A3), (0x900, 0x97F), (0x600, 0x6FF), (0x1E00, 0x1EFF),
         (0xE00, 0xE7F))
    )  # fmt: skip
    return "".join(chr(rng.randint(first, last)) for _ in range(rng.randrange(1, 9)))


def _any_character(rng: random.Random) -> str:
    """Any code point but surrogates, of the first plane more often than of the others."""
    point = rng.randrange(0x10000 if rng.random() < 0.7 else 0x110000)
    char = chr(point)
    return "\ufffd" if 0xD800 <= point <= 0xDFFF or char in NEW_CHARACTERS else char


def _broken(rng: random.Random, piece: str) -> str:
    begin = rng.randrange(len(piece))
    return piece[begin : rng.randrange(begin, len(piece)) + 1]
