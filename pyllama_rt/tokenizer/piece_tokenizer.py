"""What all tokenizers do alike: special pieces, spans, what goes around a text, ids to bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from pyllama_rt.errors import ConfigError
from pyllama_rt.tokenizer.model_proto import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED
from pyllama_rt.tokenizer.pieces import PieceTable, byte_value
from pyllama_rt.tokenizer.special_pieces import SpecialPieces

HIDDEN_TYPES = (CONTROL, UNKNOWN)
"""Types of pieces that text gives only where special parsing is on."""

_C_SPACES = " \t\n\v\f\r"
"""What C calls white space; only this is swallowed behind a stripping piece."""


class PieceTokenizer(ABC):
    """Tokenizer over a table of pieces.

    Special pieces follow llama.cpp: USER_DEFINED pieces are cut out everywhere, CONTROL and UNKNOWN
    ones where special parsing is asked for, leftmost and longest first; the text before and after
    each is encoded by itself. Unlike llama.cpp, text can never give a control id where special
    parsing is off.
    """

    def __init__(self, table: PieceTable, *, space_prefix: bool) -> None:
        """Prepares the search for special pieces.

        Args:
            space_prefix: Whether `encode` puts a space before a text.
        """
        self.table = table
        self._space_prefix = space_prefix
        pieces, types = table.pieces, table.types
        user = {pieces[i]: i for i, kind in enumerate(types) if kind == USER_DEFINED}
        hidden = {pieces[i]: i for i, kind in enumerate(types) if kind in HIDDEN_TYPES}
        self._special_pieces = list(hidden)
        self._user_cutter = SpecialPieces(user)
        self._all_cutter = SpecialPieces(user | hidden)

    @property
    def n_vocab(self) -> int:
        """Number of ids."""
        return len(self.table.pieces)

    @property
    def bos_id(self) -> int | None:
        """The id that begins a text."""
        return self.table.bos_id

    @property
    def eos_id(self) -> int | None:
        """The id that ends a text."""
        return self.table.eos_id

    @property
    def unk_id(self) -> int | None:
        """The id of what is not known."""
        return self.table.unk_id

    @property
    def pad_id(self) -> int | None:
        """The id that fills up batches in training."""
        return self.table.pad_id

    @property
    def eog_ids(self) -> frozenset[int]:
        """Every id that ends a generation."""
        return self.table.eog_ids

    @property
    def add_bos(self) -> bool:
        """Whether `encode` puts BOS first unless told otherwise."""
        return self.table.add_bos

    @property
    def special_pieces(self) -> Sequence[str]:
        """The texts of all CONTROL and UNKNOWN pieces."""
        return self._special_pieces

    def encode(
        self, text: str | bytes, *, add_bos: bool | None = None, special: bool = False
    ) -> list[int]:
        """The ids of `text`.

        Args:
            text: Any string, or bytes that should be UTF-8. In a `str` the surrogates U+DC80 to
                U+DCFF stand for bytes that are not, as in Python's arguments.
            add_bos: True or False; None adds BOS and EOS as the vocabulary says.
            special: Whether CONTROL and UNKNOWN pieces in the text become their ids.
        Raises:
            ConfigError if BOS is asked for and there is none.
        """
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        if special:
            return self.encode_spans([(text, True)], add_bos=add_bos)
        tokens = self._head(add_bos)
        self._encode_raw(text, None, tokens)
        tokens += self._tail(add_bos)
        return tokens

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
                if self.table.types[token] == USER_DEFINED:
                    raw.append(self.table.pieces[token])
                    continue
                self._encode_raw("".join(raw), after, tokens)
                raw, after = [], token
                tokens.append(token)
        self._encode_raw("".join(raw), after, tokens)
        tokens += self._tail(add_bos)
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
        kind, text = self.table.types[token], self.table.pieces[token]
        if kind == BYTE:
            return bytes([byte_value(text) or 0])
        if kind in (NORMAL, USER_DEFINED):
            return self._text_of(token)
        return text.encode("utf-8", "surrogateescape") if special else b""

    def decode(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        """The bytes of a whole text.

        The space that `encode` put before the text is removed: one space at the start of the
        first piece that is no control piece, as SentencePiece does.
        """
        out = []
        at_start = self._space_prefix
        for token in tokens:
            piece = self.piece(token, special=special)
            if at_start and self.table.types[token] not in HIDDEN_TYPES:
                piece = piece.removeprefix(b" ")
                at_start = False
            out.append(piece)
        return b"".join(out)

    @abstractmethod
    def _encode_text(self, text: str, tokens: list[int]) -> None:
        """Appends the ids of a text without special pieces, never a CONTROL or UNKNOWN one.

        The text is not empty; surrogates in it are stray bytes.
        """

    @abstractmethod
    def _text_of(self, token: int) -> bytes:
        """The bytes of a NORMAL or USER_DEFINED piece."""

    def _head(self, add_bos: bool | None) -> list[int]:
        if not (self.table.add_bos if add_bos is None else add_bos):
            return []
        if self.bos_id is None:
            raise ConfigError(f"{self.table.source}: the vocabulary has no BOS; use no BOS")
        return [self.bos_id]

    def _tail(self, add_bos: bool | None) -> list[int]:
        if add_bos is None and self.table.add_eos and self.eos_id is not None:
            return [self.eos_id]
        return []

    def _encode_raw(self, text: str, after: int | None, tokens: list[int]) -> None:
        """Appends the ids of text behind the special id `after`, without CONTROL pieces."""
        if after is None and not self._user_cutter.found_in(text):
            if text:
                self._encode_text(text, tokens)
            return
        for before, token in self._user_cutter.cut(text):
            fragment = before
            if after in self.table.rstrip_ids:
                fragment = before.lstrip(_C_SPACES)
            if fragment:
                self._encode_text(fragment, tokens)
            if token is not None:
                tokens.append(token)
                after = token
