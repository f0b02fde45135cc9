"""SentencePiece vocabularies (`tokenizer.ggml.model` = "llama"), tokenised by its own library."""

from __future__ import annotations

import re
from collections.abc import Sequence

import sentencepiece

from pyllama_rt.errors import ConfigError, FormatError
from pyllama_rt.tokenizer.model_proto import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    SentencePieceModel,
    write_model_proto,
)
from pyllama_rt.tokenizer.special_pieces import SpecialPieces
from pyllama_rt.tokenizer.vocabulary import Vocabulary, byte_value

_FATAL_ONLY = 3
_SURROGATES = re.compile("([\ud800-\udfff]+)")
_C_SPACES = " \t\n\v\f\r"
"""What C calls white space; only this is swallowed behind a stripping piece."""


class SpmTokenizer:
    """Tokenizer over a SentencePiece vocabulary.

    Plain text gives the library's own ids. Special pieces follow llama.cpp: USER_DEFINED pieces
    are cut out everywhere, CONTROL and UNKNOWN ones where special parsing is asked for, leftmost
    and longest first; the text before and after each is encoded by itself, with the space prefix.
    Unlike llama.cpp, text can never give a control id where special parsing is off.

    Bytes that are not UTF-8 become byte pieces, one each (U+FFFD where the vocabulary has none).
    In a `str` the surrogates U+DC80 to U+DCFF stand for such bytes, as in Python's arguments.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Builds the library's model. Raises: FormatError if the library refuses it."""
        self.vocabulary = vocabulary
        pieces, types = vocabulary.pieces, vocabulary.types
        user = {pieces[i]: i for i, kind in enumerate(types) if kind == USER_DEFINED}
        hidden = {pieces[i]: i for i, kind in enumerate(types) if kind in (CONTROL, UNKNOWN)}
        self._special_pieces = list(hidden)
        self._user_cutter = SpecialPieces(user)
        self._all_cutter = SpecialPieces(user | hidden)
        # The library strips white space itself only together with adding its prefix.
        self._own_prefix = vocabulary.add_space_prefix and not vocabulary.remove_extra_whitespaces
        self._processor = _library_processor(vocabulary)

    @property
    def n_vocab(self) -> int:
        """Number of ids."""
        return len(self.vocabulary.pieces)

    @property
    def bos_id(self) -> int | None:
        """The id that begins a text."""
        return self.vocabulary.bos_id

    @property
    def eos_id(self) -> int | None:
        """The id that ends a text."""
        return self.vocabulary.eos_id

    @property
    def unk_id(self) -> int | None:
        """The id of what is not known."""
        return self.vocabulary.unk_id

    @property
    def pad_id(self) -> int | None:
        """The id that fills up batches in training."""
        return self.vocabulary.pad_id

    @property
    def eog_ids(self) -> frozenset[int]:
        """Every id that ends a generation."""
        return self.vocabulary.eog_ids

    @property
    def add_bos(self) -> bool:
        """Whether `encode` puts BOS first unless told otherwise."""
        return self.vocabulary.add_bos

    @property
    def special_pieces(self) -> Sequence[str]:
        """The texts of all CONTROL and UNKNOWN pieces."""
        return self._special_pieces

    def encode(
        self, text: str | bytes, *, add_bos: bool | None = None, special: bool = False
    ) -> list[int]:
        """The ids of `text`.

        Args:
            text: Any string, or bytes that should be UTF-8.
            add_bos: True or False; None adds BOS and EOS as the vocabulary says.
            special: Whether CONTROL and UNKNOWN pieces in the text become their ids.
        Raises:
            ConfigError if BOS is asked for and there is none.
        """
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        return self.encode_spans([(text, special)], add_bos=add_bos)

    def encode_spans(
        self, spans: Sequence[tuple[str, bool]], *, add_bos: bool | None = None
    ) -> list[int]:
        """The ids of the joined spans; special pieces only inside spans marked True.

        Raw text that meets at the border of two spans is joined before it is encoded, so that the
        ids are those of the whole text.
        """
        tokens = self._head(add_bos)
        raw: list[str] = []
        after: int | None = None
        for text, special in spans:
            if not special:
                raw.append(text)
                continue
            for before, token in self._all_cutter.cut(text):
                raw.append(before)
                if token is None:
                    continue
                if self.vocabulary.types[token] == USER_DEFINED:
                    raw.append(self.vocabulary.pieces[token])
                    continue
                self._encode_raw("".join(raw), after, tokens)
                raw, after = [], token
                tokens.append(token)
        self._encode_raw("".join(raw), after, tokens)
        if add_bos is None and self.vocabulary.add_eos and self.eos_id is not None:
            tokens.append(self.eos_id)
        return tokens

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one id.

        Args:
            special: Whether CONTROL and UNKNOWN pieces give their text; otherwise nothing.
        Raises:
            ConfigError if `token` is not in the vocabulary.
        """
        if not 0 <= token < self.n_vocab:
            raise ConfigError(f"token id {token}: expected 0 to {self.n_vocab - 1}")
        kind, text = self.vocabulary.types[token], self.vocabulary.pieces[token]
        if kind == BYTE:
            return bytes([byte_value(text) or 0])
        if kind in (NORMAL, USER_DEFINED):
            return text.replace("▁", " ").encode("utf-8", "surrogateescape")
        return text.encode("utf-8", "surrogateescape") if special else b""

    def decode(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        """The bytes of a whole text.

        The space that `encode` put before the text is removed: one space at the start of the
        first piece that is no control piece, as SentencePiece does.
        """
        out = []
        at_start = self.vocabulary.add_space_prefix
        for token in tokens:
            piece = self.piece(token, special=special)
            if at_start and self.vocabulary.types[token] not in (CONTROL, UNKNOWN):
                piece = piece.removeprefix(b" ")
                at_start = False
            out.append(piece)
        return b"".join(out)

    def _head(self, add_bos: bool | None) -> list[int]:
        if not (self.vocabulary.add_bos if add_bos is None else add_bos):
            return []
        if self.bos_id is None:
            raise ConfigError(f"{self.vocabulary.source}: the vocabulary has no BOS; use no BOS")
        return [self.bos_id]

    def _encode_raw(self, text: str, after: int | None, tokens: list[int]) -> None:
        """Appends the ids of text behind the special id `after`, without CONTROL pieces."""
        for before, token in self._user_cutter.cut(text):
            fragment = before
            if after in self.vocabulary.rstrip_ids:
                fragment = before.lstrip(_C_SPACES)
            if fragment:
                self._encode_fragment(fragment, tokens)
            if token is not None:
                tokens.append(token)
                after = token

    def _encode_fragment(self, text: str, tokens: list[int]) -> None:
        prefixed = " " + text if self._own_prefix else text
        if text.isascii() or not _SURROGATES.search(text):
            tokens += self._processor.EncodeAsIds(prefixed)
            return
        if self.vocabulary.byte_ids is None or self.vocabulary.remove_extra_whitespaces:
            tokens += self._processor.EncodeAsIds(_SURROGATES.sub(_replaced, prefixed))
            return
        for i, part in enumerate(_SURROGATES.split(prefixed)):
            if i % 2 == 0:
                tokens += self._processor.EncodeAsIds(part)
                continue
            for char in part:
                # Half a surrogate pair is no byte of anything: U+FFFD, as decoders have it.
                code = ord(char)
                stray = bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else b"\xef\xbf\xbd"
                tokens += [self.vocabulary.byte_ids[byte] for byte in stray]


def _replaced(match: re.Match[str]) -> str:
    return "\ufffd" * len(match.group())


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
