"""SentencePiece vocabularies (`tokenizer.ggml.model` = "llama"), tokenised by its own library."""

from __future__ import annotations

import sentencepiece

from pyllama_rt.errors import FormatError
from pyllama_rt.tokenizer.model_proto import (
    BYTE,
    CONTROL,
    UNKNOWN,
    SentencePieceModel,
    write_model_proto,
)
from pyllama_rt.tokenizer.piece_tokenizer import PieceTokenizer
from pyllama_rt.tokenizer.stray_bytes import (
    cut_at_stray_bytes,
    has_surrogates,
    without_surrogates,
)
from pyllama_rt.tokenizer.vocabulary import Vocabulary

_FATAL_ONLY = 3


class SpmTokenizer(PieceTokenizer):
    """Tokenizer over a SentencePiece vocabulary.

    Plain text gives the library's own ids; text before and after a special piece is encoded by
    itself, with the space prefix. Bytes that are not UTF-8 become byte pieces, one each (U+FFFD
    where the vocabulary has none).
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Builds the library's model. Raises: FormatError if the library refuses it."""
        super().__init__(vocabulary, space_prefix=vocabulary.add_space_prefix)
        self.vocabulary = vocabulary
        # The library strips white space itself only together with adding its prefix.
        self._own_prefix = vocabulary.add_space_prefix and not vocabulary.remove_extra_whitespaces
        self._processor = _library_processor(vocabulary)

    def _text_of(self, token: int) -> bytes:
        text = self.vocabulary.pieces[token]
        return text.replace("▁", " ").encode("utf-8", "surrogateescape")

    def _encode_text(self, text: str, tokens: list[int]) -> None:
        prefixed = " " + text if self._own_prefix else text
        if not has_surrogates(text):
            tokens += self._processor.EncodeAsIds(prefixed)
            return
        byte_ids = self.vocabulary.byte_ids
        if byte_ids is None or self.vocabulary.remove_extra_whitespaces:
            tokens += self._processor.EncodeAsIds(without_surrogates(prefixed))
            return
        for part, stray in cut_at_stray_bytes(prefixed):
            tokens += self._processor.EncodeAsIds(part)
            tokens += [byte_ids[byte] for byte in stray]


def _library_processor(vocabulary: Vocabulary) -> sentencepiece.SentencePieceProcessor:
    """The library's processor, without control of its own: only text it may merge stays text.

    It insists on exactly one unknown piece. With byte pieces nothing is ever unknown and a piece
    past the end of the vocabulary takes that part; otherwise it is the vocabulary's own.
    """
    pieces, scores = list(vocabulary.pieces), list(vocabulary.scores)
    inert = {UNKNOWN: CONTROL}
    if vocabulary.byte_ids is None:
        inert[BYTE] = CONTROL
    types = [inert.get(kind, kind) for kind in vocabulary.types]
    unk_id = vocabulary.unk_id
    if vocabulary.byte_ids is not None or unk_id is None:
        unk_id = len(pieces)
        pieces.append(_unused_text(set(pieces)))
        scores.append(0.0)
        types.append(UNKNOWN)
    types[unk_id] = UNKNOWN
    proto = write_model_proto(
        SentencePieceModel(
            pieces=pieces,
            scores=scores,
            types=types,
            model_type=vocabulary.algorithm,
            byte_fallback=vocabulary.byte_ids is not None,
            add_dummy_prefix=vocabulary.add_space_prefix and vocabulary.remove_extra_whitespaces,
            remove_extra_whitespaces=vocabulary.remove_extra_whitespaces,
            unk_id=unk_id,
            precompiled_charsmap=vocabulary.precompiled_charsmap,
        )
    )
    # The library reports refusals both as exceptions and on stderr; one is enough.
    sentencepiece.set_min_log_level(_FATAL_ONLY)
    processor = sentencepiece.SentencePieceProcessor()
    try:
        loaded = processor.LoadFromSerializedProto(proto)
    except (RuntimeError, ValueError, OSError) as error:
        raise _refused(vocabulary, str(error)) from error
    if not loaded:
        raise _refused(vocabulary, "no reason given")
    return processor


def _refused(vocabulary: Vocabulary, reason: str) -> FormatError:
    reason = " ".join(reason.split())[-200:]
    return FormatError.at(
        vocabulary.source, "vocabulary", expected="a SentencePiece vocabulary", found=reason
    )


def _unused_text(pieces: set[str]) -> str:
    text = "<unk>"
    while text in pieces:
        text += "_"
    return text
