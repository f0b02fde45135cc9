"""Model metadata without a model file, for the tokenizer tests."""

from __future__ import annotations

from collections.abc import Sequence

from fake_metadata import Element, FakeMetadata

Piece = tuple[str, float, int]

SPECIAL: list[Piece] = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
BYTES: list[Piece] = [(f"<0x{i:02X}>", 0.0, 6) for i in range(256)]


def words(*texts: str) -> list[Piece]:
    """NORMAL pieces, the first merged first."""
    return [(text, float(-i - 1), 1) for i, text in enumerate(texts)]


def small_pieces() -> list[Piece]:
    """A vocabulary that can merge "▁ab", "▁abc" and "bc", with bytes for the rest."""
    return SPECIAL + BYTES + words("ab", "▁ab", "▁abc", "bc", "▁", "a", "b", "c", "中")


def fake(pieces: Sequence[Piece], **more: object) -> FakeMetadata:
    """Metadata of an SPM vocabulary; `more` are keys below `tokenizer.ggml.` (None removes)."""
    prefix = "tokenizer.ggml."
    values: dict[str, object] = {
        prefix + "model": "llama",
        prefix + "tokens": [text for text, _, _ in pieces],
        prefix + "scores": [score for _, score, _ in pieces],
        prefix + "token_type": [kind for _, _, kind in pieces],
    }
    values |= {prefix + key: value for key, value in more.items()}
    elements = {
        prefix + "tokens": Element.STRING,
        prefix + "scores": Element.FLOAT32,
        prefix + "token_type": Element.INT32,
    }
    return FakeMetadata({k: v for k, v in values.items() if v is not None}, elements)
