from __future__ import annotations

import random

import pytest

from pyllama_rt.tokenizer.special_pieces import SpecialPieces


def slow_cut(ids: dict[str, int], text: str) -> list[tuple[str, int | None]]:
    """Leftmost, then longest, by trying every piece at every place."""
    out: list[tuple[str, int | None]] = []
    begin = at = 0
    longest_first = sorted(ids, key=len, reverse=True)
    while at < len(text):
        found = next((piece for piece in longest_first if text.startswith(piece, at)), None)
        if found is None:
            at += 1
            continue
        out.append((text[begin:at], ids[found]))
        begin = at = at + len(found)
    return [*out, (text[begin:], None)]


@pytest.mark.parametrize("count", [1, 3, 30, 2000])
def test_leftmost_longest(count: int) -> None:
    rng = random.Random(count)
    alphabet = "ab<|>\n.[中" if count < 100 else [chr(0x4E00 + i) for i in range(60)]
    for _ in range(200 if count < 100 else 4):
        pieces = {"".join(rng.choices(alphabet, k=rng.randrange(1, 8))) for _ in range(count)}
        ids = {piece: i for i, piece in enumerate(sorted(pieces))}
        special = SpecialPieces(ids)
        for _ in range(10):
            text = "".join(rng.choices([*alphabet, *sorted(pieces)[:9]], k=rng.randrange(30)))
            assert list(special.cut(text)) == slow_cut(ids, text)
            assert special.found_in(text) == any(piece in text for piece in pieces)


def test_no_pieces() -> None:
    assert list(SpecialPieces({}).cut("abc")) == [("abc", None)]
    assert not SpecialPieces({}).found_in("abc")
