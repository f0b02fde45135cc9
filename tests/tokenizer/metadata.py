"""Model metadata without a model file, for the tokenizer tests."""

from __future__ import annotations

from collections.abc import Sequence

from fake_metadata import Element, FakeMetadata

from pyllama_rt.tokenizer.bpe import BYTE_ALPHABET

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


def alphabet() -> list[Piece]:
    """The 256 byte pieces of byte-level BPE."""
    return [(char, 0.0, 1) for char in BYTE_ALPHABET]


def fake_bpe(pieces: Sequence[Piece], rules: Sequence[str], **more: object) -> FakeMetadata:
    """Metadata of a byte-level BPE vocabulary cut like GPT-2's; `more` as for `fake`."""
    keys: dict[str, object] = {"model": "gpt2", "pre": "gpt-2", "merges": list(rules)}
    return fake(pieces, **({"scores": None} | keys | more))


def small_bpe(**more: object) -> FakeMetadata:
    """Bytes, 256 "ab", 257 "Ġab", 258 "abc", 259 "<|end|>" CONTROL, 260 "<tag>" USER_DEFINED."""
    pieces = [*alphabet(), *words("ab", "Ġab", "abc"), ("<|end|>", 0.0, 3), ("<tag>", 0.0, 4)]
    return fake_bpe(pieces, ["a b", "Ġ ab", "ab c"], **more)


def small_wordpiece(**more: object) -> FakeMetadata:
    """0 [UNK], 1 [CLS], 2 [SEP], then 3 "▁play", 4 "ing", 5 "▁a", 6 "b", 7 "▁!", 8 "<tag>"."""
    special: list[Piece] = [("[UNK]", 0.0, 2), ("[CLS]", 0.0, 3), ("[SEP]", 0.0, 3)]
    pieces = [*special, *words("▁play", "ing", "▁a", "b", "▁!"), ("<tag>", 0.0, 4)]
    ids = {"unknown_token_id": 0, "cls_token_id": 1, "seperator_token_id": 2}
    return fake(pieces, **({"model": "bert", "scores": None} | ids | more))
