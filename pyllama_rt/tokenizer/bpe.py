"""Byte-pair encoding by ranked merges (`tokenizer.ggml.model` = "gpt2" or "gemma4").

Hugging Face's `tokenizers` cuts and merges; its ids are those of a model's own `tokenizer.json`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from tokenizers import Regex, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Library

from pyllama_rt.errors import FormatError, UnsupportedError, did_you_mean, shown
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.tokenizer.model_proto import USER_DEFINED
from pyllama_rt.tokenizer.piece_tokenizer import HIDDEN_TYPES, PieceTokenizer
from pyllama_rt.tokenizer.pieces import PieceTable, read_piece_fields, required
from pyllama_rt.tokenizer.pre_tokenizers import (
    PRE_TOKENIZER_ALIASES,
    PRE_TOKENIZERS,
    PreTokenizer,
)
from pyllama_rt.tokenizer.stray_bytes import cut_at_stray_bytes, has_surrogates

_MERGES = "tokenizer.ggml.merges"
_PRE = "tokenizer.ggml.pre"
_NEWLINES = re.compile("(\n\n+)")
_REPLACEMENT = "\ufffd"

Merge = tuple[str, str]


def _byte_alphabet() -> list[str]:
    """GPT-2's character for each byte: itself where it prints, else one from U+0100 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printed else chr(next(others)) for byte in range(256)]


BYTE_ALPHABET: Sequence[str] = _byte_alphabet()
_BYTE_OF = {char: bytes([byte]) for byte, char in enumerate(BYTE_ALPHABET)}


class BpeTokenizer(PieceTokenizer):
    """Tokenizer over pieces and merges.

    Bytes that are not UTF-8 become their pieces, one each (U+FFFD where the vocabulary has none).
    Characters of a text whose bytes have no pieces are left out, as other programs do.
    """

    def __init__(
        self, table: PieceTable, merges: Sequence[Merge], pre_tokenizer: PreTokenizer
    ) -> None:
        """Builds the library's model.

        Args:
            merges: Pairs of pieces, the first merged first, no two of them equal.
        Raises:
            FormatError if a merge names or makes something that is no piece.
        """
        super().__init__(table, space_prefix=False)
        self._byte_level = pre_tokenizer.byte_level
        ids = {
            piece: i
            for i, (piece, kind) in enumerate(zip(table.pieces, table.types, strict=True))
            if kind not in HIDDEN_TYPES
        }
        self._newlines = {
            piece: i for piece, i in ids.items() if not self._byte_level and not piece.strip("\n")
        }
        model = _model(
            table,
            ids,
            merges,
            ignore_merges=pre_tokenizer.ignore_merges,
            byte_fallback=not self._byte_level,
        )
        self._library = _library(model, pre_tokenizer)
        names = BYTE_ALPHABET if self._byte_level else [f"<0x{byte:02X}>" for byte in range(256)]
        instead = self._ids(_REPLACEMENT)
        # A USER_DEFINED piece is text, even where its one character is in the alphabet.
        found = [ids.get(name) for name in names]
        self._stray_ids = [
            instead if i is None or table.types[i] == USER_DEFINED else [i] for i in found
        ]

    def _text_of(self, token: int) -> bytes:
        text = self.table.pieces[token]
        if self._byte_level and self.table.types[token] != USER_DEFINED:
            return b"".join(_BYTE_OF.get(char) or char.encode() for char in text)
        if not self._byte_level:
            text = text.replace("▁", " ")
        return text.encode("utf-8", "surrogateescape")

    def _encode_text(self, text: str, tokens: list[int]) -> None:
        if not has_surrogates(text):
            tokens += self._ids(text)
            return
        for part, stray in cut_at_stray_bytes(text):
            tokens += self._ids(part)
            for byte in stray:
                tokens += self._stray_ids[byte]

    def _ids(self, text: str) -> list[int]:
        if not self._newlines or "\n\n" not in text:
            return self._library_ids(text)
        # A run of newlines that is a piece is that piece, whatever the merges give.
        found: list[int] = []
        for part in _NEWLINES.split(text):
            token = self._newlines.get(part)
            found += self._library_ids(part) if token is None else [token]
        return found

    def _library_ids(self, text: str) -> list[int]:
        ids: list[int] = self._library.encode(text, add_special_tokens=False).ids
        return ids


def load_bpe(meta: MetadataReader, file: object) -> BpeTokenizer:
    """The BPE tokenizer that GGUF metadata describe.

    Args:
        meta: The file's metadata. file: Its path, for messages.
    Raises:
        FormatError if a key is missing, has another type or contradicts the rest; UnsupportedError
        if the pre-tokenizer is not known.
    """
    source = str(file)
    name = meta.get_str("tokenizer.ggml.model")
    if name != "gemma4":
        name = meta.get_str(_PRE, "") or "default"
    pre_tokenizer = _pre_tokenizer(name, source)
    table = PieceTable(**read_piece_fields(meta, file, add_bos=pre_tokenizer.add_bos))
    lines = required(meta.get_strings(_MERGES, None), _MERGES, source)
    return BpeTokenizer(table, _split_merges(lines, source), pre_tokenizer)


def _pre_tokenizer(name: str, source: str) -> PreTokenizer:
    name = PRE_TOKENIZER_ALIASES.get(name, name)
    if name not in PRE_TOKENIZERS:
        known = [*PRE_TOKENIZERS, *PRE_TOKENIZER_ALIASES]
        raise UnsupportedError(
            f"{source}: {_PRE} {shown(name)}{did_you_mean(name, known)} is not supported; "
            f"known: {', '.join(sorted(known))}"
        )
    return PRE_TOKENIZERS[name]


def _split_merges(lines: Sequence[str], source: str) -> list[Merge]:
    # Of equal ones the first counts. Tuples at once: the garbage collector looks at lists again.
    pairs = [tuple(line.split(" ")) for line in dict.fromkeys(lines)]
    if not set(map(len, pairs)) <= {2}:
        index = next(i for i, line in enumerate(lines) if line.count(" ") != 1)
        expected, found = "two pieces with one space between them", shown(lines[index])
        raise FormatError.at(source, f"{_MERGES}[{index}]", expected=expected, found=found)
    return cast("list[Merge]", pairs)


def _model(table: PieceTable, ids: dict[str, int], merges: Sequence[Merge], **how: bool) -> Any:
    """The library's model, without merges of CONTROL and UNKNOWN pieces, which `ids` lacks."""
    try:
        return models.BPE(vocab=ids, merges=merges, **how)
    except Exception as error:  # the library has no class of its own
        hidden = set(table.pieces) - ids.keys()
        kept = [merge for merge in merges if hidden.isdisjoint((*merge, "".join(merge)))]
        if len(kept) < len(merges):
            return _model(table, ids, kept, **how)
        raise _bad_merge(table, ids, merges, error) from error


def _library(model: Any, pre_tokenizer: PreTokenizer) -> Library:
    library = Library(model)
    splits = [pre_tokenizers.Split(Regex(split), "isolated") for split in pre_tokenizer.splits]
    if pre_tokenizer.byte_level:
        last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        library.pre_tokenizer = pre_tokenizers.Sequence([*splits, last])
    else:
        library.normalizer = normalizers.Replace(" ", "▁")
        library.pre_tokenizer = pre_tokenizers.Sequence(splits)
    return library


def _bad_merge(
    table: PieceTable, ids: dict[str, int], merges: Sequence[Merge], error: Exception
) -> FormatError:
    for merge in merges:
        for text in (*merge, "".join(merge)):
            if text not in ids:
                where, expected = f"{_MERGES} {shown(' '.join(merge))}", "pieces of the vocabulary"
                return FormatError.at(table.source, where, expected=expected, found=shown(text))
    return table.error("merges", "merges of pieces", " ".join(str(error).split())[-200:])
