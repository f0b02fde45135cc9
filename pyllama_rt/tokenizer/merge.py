"""A SentencePiece vocabulary extended by the pieces of another, as Chinese-LLaMA's was made."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pyllama_rt.errors import UnsupportedError
from pyllama_rt.tokenizer.model_proto import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    append_pieces,
    read_sentencepiece_model,
)

ADDED_SCORE = 0.0
"""Above the scores of all pieces that were learnt, so that merges into added pieces go first."""

_TYPE_NAMES = {
    UNKNOWN: "unknown",
    CONTROL: "control",
    USER_DEFINED: "user_defined",
    UNUSED: "unused",
    BYTE: "byte",
}


@dataclass(frozen=True)
class MergedVocabulary:
    """What a merge gave.

    data: the bytes of the new `tokenizer.model`. n_base: pieces of the base, which keep their ids.
    added: pieces that were appended, in order. duplicates: pieces that the base had already.
    not_taken: number of pieces by the name of their type, for types that are never taken.
    """

    data: bytes
    n_base: int
    added: tuple[str, ...]
    duplicates: tuple[str, ...]
    not_taken: dict[str, int]


def merge_vocabularies(
    base: bytes, extra: bytes, base_file: object, extra_file: object
) -> MergedVocabulary:
    """The vocabulary of `base` and after it the normal pieces of `extra` that it lacks.

    Args:
        base, extra: The bytes of two `tokenizer.model` files, named `base_file` and `extra_file`
            in messages. Every byte of `base` stays, also what is not understood here.
    Raises:
        FormatError for files that are broken; UnsupportedError if the base is not of type bpe,
        where a score says when to merge: in the others it is a probability.
    """
    old = read_sentencepiece_model(base, base_file)
    new = read_sentencepiece_model(extra, extra_file)
    if old.model_type != "bpe":
        raise UnsupportedError(
            f"{base_file}: a {old.model_type} vocabulary cannot be extended, as added pieces would "
            "need probabilities; expected bpe"
        )
    known = set(old.pieces)
    added, duplicates = [], []
    not_taken: Counter[str] = Counter()
    for piece, kind in zip(new.pieces, new.types, strict=True):
        if kind != NORMAL:
            not_taken[_TYPE_NAMES[kind]] += 1
        elif piece in known:
            duplicates.append(piece)
        else:
            known.add(piece)
            added.append(piece)
    return MergedVocabulary(
        data=append_pieces(base, added, ADDED_SCORE, base_file),
        n_base=len(old.pieces),
        added=tuple(added),
        duplicates=tuple(duplicates),
        not_taken=dict(not_taken),
    )
