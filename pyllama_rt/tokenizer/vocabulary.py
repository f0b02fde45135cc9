"""The pieces of a SentencePiece vocabulary and what a model file says about them, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from pyllama_rt.errors import FormatError
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.tokenizer.model_proto import SentencePieceModel
from pyllama_rt.tokenizer.pieces import (
    MAX_PIECE_CHARS,
    PieceTable,
    check_element_type,
    read_piece_fields,
    required,
)

__all__ = ["MAX_PIECE_CHARS", "Vocabulary"]

_SCORES = "tokenizer.ggml.scores"


@dataclass(frozen=True, eq=False)
class Vocabulary(PieceTable):
    """A SentencePiece vocabulary: in all but special pieces `▁` stands for a space.

    Attributes:
        scores: Merge priority (bpe) or log probability (unigram).
        algorithm: "bpe" or "unigram".
        add_space_prefix: Whether a space goes before a text and after each special piece.
        remove_extra_whitespaces, precompiled_charsmap: Normalisation of unigram vocabularies.

    Raises: FormatError if any of it contradicts the rest.
    """

    scores: Sequence[float]
    _: KW_ONLY
    algorithm: str = "bpe"
    add_space_prefix: bool = True
    remove_extra_whitespaces: bool = False
    precompiled_charsmap: bytes = b""

    def __post_init__(self) -> None:
        """Checks what a `PieceTable` does not know."""
        super().__post_init__()
        if len(self.scores) != len(self.pieces):
            expected = f"{len(self.pieces)} entries, one per piece"
            raise self.error("scores", expected, len(self.scores))
        if any(map(math.isnan, self.scores)):
            raise self.error("scores", "numbers", "NaN")
        if self.byte_ids is None and self.unk_id is None:
            raise self.error("unknown id", "an unknown piece or all 256 byte pieces", "neither")

    @classmethod
    def from_metadata(cls, meta: MetadataReader, file: object) -> Vocabulary:
        """The SentencePiece vocabulary that GGUF metadata describe.

        Args:
            meta: The file's metadata. file: Its path, for messages.
        Raises:
            FormatError if a key is missing, has another type or contradicts the rest.
        """
        source = str(file)
        fields = read_piece_fields(
            meta, file, types_required=True, unk_id=0, bos_id=1, eos_id=2, add_bos=True
        )
        scores = required(meta.get_floats(_SCORES, None), _SCORES, source)
        check_element_type(meta, _SCORES, ("FLOAT32",), source)
        prefix = meta.get_bool("tokenizer.ggml.add_space_prefix", True)
        return cls(**fields, scores=scores, add_space_prefix=prefix)

    @classmethod
    def from_sentencepiece(cls, model: SentencePieceModel, file: object) -> Vocabulary:
        """The vocabulary of a `tokenizer.model`; BOS is added where there is one, EOS is not."""

        def token(value: int) -> int | None:
            return None if value < 0 else value

        if model.model_type not in ("bpe", "unigram"):
            raise FormatError.at(
                file, "model_type", expected="bpe or unigram", found=model.model_type
            )
        return cls(
            source=str(file),
            pieces=model.pieces,
            scores=model.scores,
            types=model.types,
            algorithm=model.model_type,
            unk_id=token(model.unk_id),
            bos_id=token(model.bos_id),
            eos_id=token(model.eos_id),
            pad_id=token(model.pad_id),
            add_bos=model.bos_id >= 0,
            add_space_prefix=model.add_dummy_prefix,
            remove_extra_whitespaces=model.remove_extra_whitespaces,
            precompiled_charsmap=model.precompiled_charsmap,
        )
