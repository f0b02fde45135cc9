"""BERT's WordPiece (`tokenizer.ggml.model` = "bert").

GGUF marks the pieces that begin a word with `▁`, where BERT's own files mark those that continue
one with `##`.
"""

from __future__ import annotations

from functools import lru_cache

from pyllama_rt.metadata import MetadataReader
from pyllama_rt.tokenizer.bert_words import BertCharacters
from pyllama_rt.tokenizer.model_proto import USER_DEFINED
from pyllama_rt.tokenizer.piece_tokenizer import HIDDEN_TYPES, PieceTokenizer
from pyllama_rt.tokenizer.pieces import PieceTable, read_piece_fields
from pyllama_rt.tokenizer.stray_bytes import has_surrogates, without_surrogates

_MAX_CACHED_WORDS = 1 << 15
_MAX_CACHED_CHARS = 64
_START = "▁"


class WordPieceTokenizer(PieceTokenizer):
    """Tokenizer over the pieces of words.

    A word is cut into the longest pieces from its start; a word for which that does not work out is
    one unknown piece. Stray bytes, like all that is no text, are left out.
    """

    def __init__(
        self, table: PieceTable, sep_id: int, *, lowercase: bool = True, strip_accents: bool = True
    ) -> None:
        """Prepares the search for pieces.

        Args:
            sep_id: What ends a text that BOS (in BERT's words CLS) begins.
            lowercase, strip_accents: What is done to a text first.
        Raises:
            FormatError if there is no unknown piece or `sep_id` is no id.
        """
        super().__init__(table, space_prefix=True)
        if table.unk_id is None:
            raise table.error("unknown id", "an id", "none")
        table.check_id("sep_id", sep_id)
        self._sep_id, self._unk_id = sep_id, table.unk_id
        self._ids = {
            piece: i
            for i, (piece, kind) in enumerate(zip(table.pieces, table.types, strict=True))
            if kind not in HIDDEN_TYPES
        }
        self._longest = max(map(len, self._ids), default=0)
        self._characters = BertCharacters(lowercase=lowercase, strip_accents=strip_accents)
        self._cached_ids = lru_cache(_MAX_CACHED_WORDS)(self._ids_of)

    def _text_of(self, token: int) -> bytes:
        text = self.table.pieces[token]
        if self.table.types[token] != USER_DEFINED:
            text = text.replace(_START, " ")
        return text.encode("utf-8", "surrogateescape")

    def _tail(self, add_bos: bool | None) -> list[int]:
        return [] if add_bos is False else [self._sep_id]

    def _encode_text(self, text: str, tokens: list[int]) -> None:
        if has_surrogates(text):
            text = without_surrogates(text)
        for word in text.translate(self._characters).split():
            cached = len(word) <= _MAX_CACHED_CHARS
            tokens += self._cached_ids(word) if cached else self._ids_of(word)

    def _ids_of(self, word: str) -> list[int]:
        text = _START + word
        found: list[int] = []
        begin = 0
        while begin < len(text):
            for end in range(min(len(text), begin + self._longest), begin, -1):
                token = self._ids.get(text[begin:end])
                if token is not None:
                    break
            else:
                return [self._unk_id]
            found.append(token)
            begin = end
        return found


def load_wordpiece(meta: MetadataReader, file: object) -> WordPieceTokenizer:
    """The WordPiece tokenizer that GGUF metadata describe; ids that they leave out are BERT's.

    Args:
        meta: The file's metadata. file: Its path, for messages.
    Raises:
        FormatError if a key is missing, has another type or contradicts the rest.
    """
    prefix = "tokenizer.ggml."
    fields = read_piece_fields(
        meta,
        file,
        unk_id=100,
        bos_id=meta.get_int(prefix + "cls_token_id", 101),
        pad_id=0,
    )
    # A text is put between CLS and SEP whatever the flags say: they were not meant for it.
    fields["add_bos"], fields["add_eos"] = True, False
    lowercase = meta.get_bool(prefix + "normalizer.lowercase", True)
    return WordPieceTokenizer(
        PieceTable(**fields),
        meta.get_int(prefix + "seperator_token_id", 102),  # spelt so
        lowercase=lowercase,
        strip_accents=meta.get_bool(prefix + "normalizer.strip_accents", lowercase),
    )
