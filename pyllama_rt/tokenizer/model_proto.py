"""SentencePiece's `tokenizer.model` files, read and written without a protobuf library.

Source: field numbers of `sentencepiece_model.proto`, google/sentencepiece.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyllama_rt.errors import FormatError, UnsupportedError
from pyllama_rt.small_file import read_small_file
from pyllama_rt.tokenizer import wire

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Piece types; GGUF's `tokenizer.ggml.token_type` has the same numbers."""

_MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
MAX_FILE_BYTES = 1 << 26
"""Far above the largest public vocabularies."""


@dataclass(frozen=True, eq=False)
class SentencePieceModel:
    """What a `tokenizer.model` holds, as far as it changes tokens.

    Attributes:
        pieces, scores, types: One entry per id; types as the constants above.
        model_type: "unigram", "bpe", "word" or "char".
        byte_fallback: Whether unknown characters become byte pieces.
        add_dummy_prefix: Whether a space is put before the text.
        remove_extra_whitespaces: Whether runs of spaces shrink to one.
        unk_id, bos_id, eos_id, pad_id: -1 where there is none.
        normalizer_name, precompiled_charsmap: The character normalisation; empty map: none.
    """

    pieces: Sequence[str]
    scores: Sequence[float]
    types: Sequence[int]
    model_type: str = "bpe"
    byte_fallback: bool = True
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = False
    unk_id: int = 0
    bos_id: int = -1
    eos_id: int = -1
    pad_id: int = -1
    normalizer_name: str = "identity"
    precompiled_charsmap: bytes = b""


def read_sentencepiece_model(
    source: str | Path | bytes, file: object = "tokenizer.model"
) -> SentencePieceModel:
    """Reads a `tokenizer.model`.

    Args:
        source: Its path, or its bytes; then `file` is its name for messages.
    Raises:
        ConfigError if it cannot be opened; FormatError if it is not a well-formed model;
        UnsupportedError if it uses word suffixes.
    """
    if isinstance(source, bytes):
        return _parse(source, str(file))
    path = Path(source)
    return _parse(read_small_file(path, MAX_FILE_BYTES), str(path))


def write_model_proto(model: SentencePieceModel) -> bytes:
    """`model` as the bytes of a `tokenizer.model`."""
    out: list[bytes] = []
    texts = [piece.encode("utf-8", "surrogatepass") for piece in model.pieces]
    scores = struct.pack(f"<{len(texts)}f", *model.scores)
    # One joined string per piece: this loop is most of the time that opening a tokenizer takes.
    heads = {n: _piece_head(n) for n in set(map(len, texts))}
    kinds = {kind: b"\x18" + bytes([kind]) for kind in set(model.types)}
    for i, (text, kind) in enumerate(zip(texts, model.types, strict=True)):
        out += (heads[len(text)], text, b"\x15", scores[4 * i : 4 * i + 4], kinds[kind])
    out.append(wire.bytes_field(2, _trainer_spec(model)))
    normalizer = wire.bytes_field(1, model.normalizer_name.encode())
    if model.precompiled_charsmap:
        normalizer += wire.bytes_field(2, model.precompiled_charsmap)
    normalizer += wire.int_field(3, model.add_dummy_prefix)
    normalizer += wire.int_field(4, model.remove_extra_whitespaces)
    out.append(wire.bytes_field(3, normalizer + wire.int_field(5, 1)))
    return b"".join(out)


def append_pieces(data: bytes, pieces: Sequence[str], score: float, file: object) -> bytes:
    """The bytes of a `tokenizer.model` with normal pieces added behind its own.

    Nothing else changes, so that fields which are not understood here survive too. A piece is
    written without its type, which then is NORMAL, as the protobuf library writes new ones.
    Raises: FormatError if `data`, named `file` in messages, is no message.
    """
    end = 0
    for number, _, stop in wire.read_placed_fields(data, str(file)):
        if number == 1:
            end = stop
    tail = b"\x15" + struct.pack("<f", score)
    added = (
        wire.bytes_field(1, wire.bytes_field(1, piece.encode("utf-8")) + tail) for piece in pieces
    )
    return data[:end] + b"".join(added) + data[end:]


def _piece_head(n_bytes: int) -> bytes:
    """What stands before the text of a piece: the tags and lengths of the message and its text."""
    text = b"\x0a" + wire.varint(n_bytes)
    return b"\x0a" + wire.varint(len(text) + n_bytes + 5 + 2) + text


def _trainer_spec(model: SentencePieceModel) -> bytes:
    number = {name: n for n, name in _MODEL_TYPES.items()}[model.model_type]
    spec = wire.int_field(3, number) + wire.int_field(4, len(model.pieces))
    spec += wire.int_field(35, model.byte_fallback)
    ids = (model.unk_id, model.bos_id, model.eos_id, model.pad_id)
    for field, piece_id in zip((40, 41, 42, 43), ids, strict=True):
        spec += wire.int_field(field, piece_id)
        if piece_id >= 0:
            text = model.pieces[piece_id].encode("utf-8", "surrogatepass")
            spec += wire.bytes_field(field + 5, text)
    return spec


def _parse(data: bytes, file: str) -> SentencePieceModel:
    pieces: list[str] = []
    scores: list[float] = []
    types: list[int] = []
    trainer: dict[int, wire.Value] = {}
    normalizer: dict[int, wire.Value] = {}
    for number, value in wire.read_fields(data, file):
        if number == 1:
            piece, score, kind = _parse_piece(wire.as_bytes(value), len(pieces), file)
            pieces.append(piece)
            scores.append(score)
            types.append(kind)
        elif number == 2:
            trainer.update(wire.read_fields(wire.as_bytes(value), file))
        elif number == 3:
            normalizer.update(wire.read_fields(wire.as_bytes(value), file))
    if not pieces:
        raise FormatError.at(file, "pieces", expected="a SentencePiece model", found="no pieces")
    model_type = wire.as_int32(trainer.get(3, 1))
    if model_type not in _MODEL_TYPES:
        raise FormatError.at(file, "model_type", expected="1 to 4", found=model_type)
    if trainer.get(24, 0) or not normalizer.get(5, 1):
        raise UnsupportedError(
            f"{file}: words marked by a suffix or kept with plain spaces are not supported"
        )

    def special(field: int, default: str) -> int:
        # The library finds these by their text and accepts control pieces only.
        text = _text(wire.as_bytes(trainer.get(field, default.encode())), "special piece", file)
        at = pieces.index(text) if text in pieces else -1
        return at if at >= 0 and types[at] == CONTROL else -1

    return SentencePieceModel(
        pieces=pieces,
        scores=scores,
        types=types,
        model_type=_MODEL_TYPES[model_type],
        byte_fallback=bool(trainer.get(35, 0)),
        add_dummy_prefix=bool(normalizer.get(3, 1)),
        remove_extra_whitespaces=bool(normalizer.get(4, 1)),
        unk_id=types.index(UNKNOWN) if UNKNOWN in types else -1,
        bos_id=special(46, "<s>"),
        eos_id=special(47, "</s>"),
        pad_id=special(48, "<pad>"),
        normalizer_name=_text(wire.as_bytes(normalizer.get(1, b"")), "normalizer name", file),
        precompiled_charsmap=wire.as_bytes(normalizer.get(2, b"")),
    )


def _parse_piece(data: bytes, index: int, file: str) -> tuple[str, float, int]:
    text, score, kind = b"", 0.0, NORMAL
    for number, value in wire.read_fields(data, file):
        if number == 1:
            text = wire.as_bytes(value)
        elif number == 2:
            score = wire.as_float(value)
        elif number == 3:
            kind = wire.as_int32(value)
    if not NORMAL <= kind <= BYTE:
        raise FormatError.at(file, f"type of piece {index}", expected="1 to 6", found=kind)
    return _text(text, f"piece {index}", file), score, kind


def _text(data: bytes, field: str, file: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError.at(file, field, expected="UTF-8", found="other bytes") from error
