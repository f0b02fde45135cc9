"""BERT's WordPiece vocabularies: from `tokenizer.json`, or `vocab.txt`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.convert.tokenizer_json import (
    MAX_FILE_BYTES,
    AddedPieces,
    check_unicode,
    pieces_in_order,
    read_pieces,
)
from pyllama_rt.convert.vocabulary_draft import SpecialId, VocabularyDraft
from pyllama_rt.errors import FormatError, UnsupportedError, shown
from pyllama_rt.small_file import read_small_file
from pyllama_rt.tokenizer.model_proto import CONTROL, NORMAL
from pyllama_rt.tokenizer.pieces import PieceTable

_CONTINUED, _START = "##", "▁"
_DEFAULTS = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}


@dataclass
class WordPieceDraft(VocabularyDraft):
    """A vocabulary whose pieces are written as BERT does, with `##` before what continues a word.

    lowercase, strip_accents: what is done to a text first.
    """

    roles: ClassVar[tuple[str, ...]] = tuple(_DEFAULTS)

    lowercase: bool = True
    strip_accents: bool = True

    def _own_keys(self, texts: list[str]) -> dict[str, Any]:
        return {
            "tokenizer.ggml.model": "bert",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.tokens": texts,
            "tokenizer.ggml.token_type": np.array(self.types, np.int32),
        }

    def _flags(self) -> dict[str, Any]:
        return {
            # llama.cpp does not read the key that names CLS.
            "tokenizer.ggml.bos_token_id": self.special_ids["cls"].token,
            "tokenizer.ggml.normalizer.lowercase": self.lowercase,
            "tokenizer.ggml.normalizer.strip_accents": self.strip_accents,
        }

    def _texts(self) -> list[str]:
        """GGUF marks what begins a word instead."""
        return [
            _marked(piece) if kind == NORMAL else piece
            for piece, kind in zip(self.pieces, self.types, strict=True)
        ]

    def _check(self, texts: list[str], ids: dict[str, int]) -> None:
        for role in ("unk", "cls", "sep"):
            if role not in ids:
                expected = f"a {role} piece such as {_DEFAULTS[role]}"
                raise FormatError.at(self.source, "vocab", expected=expected, found="none")
        PieceTable(source=str(self.source), pieces=texts, types=self.types)


def draft_wordpiece(
    file: JsonMetadata, vocab: Mapping[str, int], added: AddedPieces, settings: JsonMetadata
) -> WordPieceDraft:
    """The draft for a `tokenizer.json` of this kind.

    Args: settings: tokenizer_config.json, which has the last word on case.
    Raises: FormatError; UnsupportedError for other normalisation than BERT's.
    """
    for key, expected in (
        ("model.continuing_subword_prefix", _CONTINUED),
        ("normalizer.type", "BertNormalizer"),
        ("pre_tokenizer.type", "BertPreTokenizer"),
    ):
        if file.get(key) != expected:
            raise UnsupportedError(
                f"{file.source}: {key} {shown(file.get(key))} is not supported; expected {expected}"
            )
    for key in ("clean_text", "handle_chinese_chars"):
        if not file.get_bool(f"normalizer.{key}", True):
            raise UnsupportedError(f"{file.source}: {key}: false is not supported")
    case = (file.get_bool("normalizer.lowercase", True), file.get("normalizer.strip_accents"))
    draft = _draft(Path(str(file.source)), vocab, added, settings, case)
    unknown = file.get_str("model.unk_token")
    if unknown not in vocab:
        raise file.error("model.unk_token", "a piece of the vocabulary", unknown)
    draft.special_ids["unk"] = SpecialId(vocab[unknown], file.source)
    return draft


def draft_vocab_txt(
    path: Path, settings: JsonMetadata, special: set[str], n_rows: int
) -> tuple[WordPieceDraft, AddedPieces]:
    """The draft for a `vocab.txt`, a piece in each line; the special ones are no others.

    Args: special: texts of special pieces that other files name.
    Raises: FormatError.
    """
    try:
        lines = read_small_file(path, MAX_FILE_BYTES).decode().split("\n")
    except UnicodeDecodeError as error:
        raise FormatError.at(
            path, "content", expected="UTF-8 text", found=f"other bytes at {error.start}"
        ) from None
    pieces = [line.removesuffix("\r") for line in lines[: len(lines) - (not lines[-1])]]
    vocab = {piece: token for token, piece in enumerate(pieces)}
    if len(vocab) != len(pieces):
        index = next(i for i, piece in enumerate(pieces) if vocab[piece] != i)
        found = f"{shown(pieces[index])} again"
        raise FormatError.at(path, f"line {index + 1}", expected="a new piece", found=found)
    read_pieces(vocab, n_rows, path)
    names = special | set(_DEFAULTS.values())
    added = {vocab[text]: (text, CONTROL) for text in names if text in vocab}
    return _draft(path, vocab, added, settings, (True, None)), added


def _draft(
    path: Path,
    vocab: Mapping[str, int],
    added: AddedPieces,
    settings: JsonMetadata,
    case: tuple[bool, Any],
) -> WordPieceDraft:
    """Args: case: whether to lower it and to strip accents, as far as its own file says."""
    if not settings.get_bool("tokenize_chinese_chars", True):
        raise UnsupportedError(f"{settings.source}: tokenize_chinese_chars: false is not supported")
    lowercase = settings.get_bool("do_lower_case", case[0])
    strip_accents = settings.get_bool("strip_accents", case[1])
    if strip_accents is not None and type(strip_accents) is not bool:
        expected = "true, false or null"
        found = shown(strip_accents)
        raise FormatError.at(path, "strip_accents", expected=expected, found=found)
    pieces = pieces_in_order(vocab, added, path)
    check_unicode("".join(pieces), "vocab", path)
    return WordPieceDraft(
        source=path,
        pieces=pieces,
        scores=[0.0] * len(pieces),
        types=[NORMAL] * len(pieces),
        special_ids={
            role: SpecialId(vocab[text], path) for role, text in _DEFAULTS.items() if text in vocab
        },
        lowercase=lowercase,
        strip_accents=lowercase if strip_accents is None else strip_accents,
    )


def _marked(piece: str) -> str:
    is_continued = piece.startswith(_CONTINUED) and piece != _CONTINUED
    return piece.removeprefix(_CONTINUED) if is_continued else _START + piece
