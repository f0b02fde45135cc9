"""Byte-level BPE vocabularies: from `tokenizer.json`, or `vocab.json` with `merges.txt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import models

from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.convert.pre_tokenizer_name import Step, pre_tokenizer_name, read_words, steps
from pyllama_rt.convert.tokenizer_json import (
    MAX_FILE_BYTES,
    AddedPieces,
    Merge,
    pieces_in_order,
    read_merges,
    read_pieces,
    read_tokenizer_json,
)
from pyllama_rt.convert.vocabulary_draft import VocabularyDraft
from pyllama_rt.errors import FormatError, UnsupportedError, shown
from pyllama_rt.small_file import read_small_file
from pyllama_rt.tokenizer.model_proto import CONTROL, NORMAL
from pyllama_rt.tokenizer.pieces import PieceTable

_END_OF_TEXT = "<|endoftext|>"
_PAIR_CLASSES = {
    "GPT2Tokenizer": "gpt-2",
    "GPT2TokenizerFast": "gpt-2",
    "Qwen2Tokenizer": "qwen2",
    "Qwen2TokenizerFast": "qwen2",
}
"""tokenizer_class -> how it cuts words, for vocabularies whose files do not say."""


@dataclass
class BpeDraft(VocabularyDraft):
    """A byte-level vocabulary. pre: GGUF's name for its pre-tokenizer. merges: by rank."""

    pre: str = "default"
    merges: Sequence[Merge] = field(default_factory=list)

    def _own_keys(self, texts: list[str]) -> dict[str, Any]:
        return {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": self.pre,
            "tokenizer.ggml.tokens": texts,
            "tokenizer.ggml.token_type": np.array(self.types, np.int32),
            "tokenizer.ggml.merges": [f"{left} {right}" for left, right in self.merges],
        }

    def _flags(self) -> dict[str, Any]:
        return {
            "tokenizer.ggml.add_bos_token": self.add_bos,
            "tokenizer.ggml.add_eos_token": self.add_eos,
        }

    def _texts(self) -> list[str]:
        return self.pieces

    def _check(self, texts: list[str], ids: dict[str, int]) -> None:
        PieceTable(
            source=str(self.source),
            pieces=texts,
            types=self.types,
            bos_id=ids.get("bos"),
            eos_id=ids.get("eos"),
            add_bos=self.add_bos,
            add_eos=self.add_eos,
        )


def draft_byte_level(
    file: JsonMetadata,
    vocab: Mapping[str, int],
    merges: Sequence[Merge],
    added: AddedPieces,
    *,
    cuts: list[Step],
    settings: JsonMetadata,
) -> BpeDraft:
    """The draft for a `tokenizer.json` whose pre-tokenizer is byte-level.

    Args: cuts: the steps of the pre-tokenizer. settings: tokenizer_config.json.
    Raises: FormatError, UnsupportedError.
    """
    source = file.source
    # GGUF has no key for normal forms; text that is written normally is in NFC.
    for step in steps(file.get("normalizer"), "normalizers", source, "normalizer"):
        if step["type"] != "NFC":
            raise UnsupportedError(f"{source}: normalizer {shown(dict(step))} is not supported")
    words = read_words(cuts, source)
    if settings.get_bool("add_prefix_space", words.add_prefix_space):
        raise UnsupportedError(
            f"{source}: add_prefix_space is not supported for byte-level vocabularies"
        )
    pre = pre_tokenizer_name(
        words,
        file.get_bool("model.ignore_merges", False),
        lambda: merges_suffice(vocab, merges, added),
        source,
    )
    return _draft(Path(str(source)), pieces_in_order(vocab, added, source), pre, merges)


def draft_pair(
    vocab_path: Path, merges_path: Path, settings: JsonMetadata, special: set[str], n_rows: int
) -> tuple[BpeDraft, AddedPieces]:
    """The draft for `vocab.json` and `merges.txt`, in which special pieces are no others.

    Args: special: texts of special pieces that other files name.
    Raises: FormatError; UnsupportedError for classes of tokenizers that are not known.
    """
    name = settings.get_str("tokenizer_class", "GPT2Tokenizer")
    if name not in _PAIR_CLASSES:
        raise UnsupportedError(
            f"{settings.source}: tokenizer_class {shown(name)} with {vocab_path.name} is not "
            f"supported; expected tokenizer.json, or one of {', '.join(_PAIR_CLASSES)}"
        )
    if settings.get_bool("add_prefix_space", False):
        raise UnsupportedError(f"{settings.source}: add_prefix_space is not supported")
    vocab = read_pieces(read_tokenizer_json(vocab_path).values, n_rows, vocab_path)
    merges = read_merges(_lines(merges_path), vocab, merges_path)
    added = {vocab[text]: (text, CONTROL) for text in special | {_END_OF_TEXT} if text in vocab}
    pieces = pieces_in_order(vocab, added, vocab_path)
    return _draft(vocab_path, pieces, _PAIR_CLASSES[name], merges), added


def merges_suffice(vocab: Mapping[str, int], merges: Sequence[Merge], added: AddedPieces) -> bool:
    """Whether the merges give every piece that stands alone, but for those that are cut out."""
    model = models.BPE(vocab=dict(vocab), merges=list(merges))
    return all(
        [part.id for part in model.tokenize(piece)] == [token]
        for piece, token in vocab.items()
        if token not in added
    )


def _draft(source: Path, pieces: list[str], pre: str, merges: Sequence[Merge]) -> BpeDraft:
    n = len(pieces)
    return BpeDraft(
        source=source,
        pieces=pieces,
        scores=[0.0] * n,
        types=[NORMAL] * n,
        add_bos=False,
        pre=pre,
        merges=merges,
    )


def _lines(path: Path) -> list[str]:
    """The merges of a merges.txt, below the line with its version."""
    raw = read_small_file(path, MAX_FILE_BYTES)
    try:
        lines = raw.decode().split("\n")
    except UnicodeDecodeError as error:
        raise FormatError.at(
            path, "content", expected="UTF-8 text", found=f"other bytes at {error.start}"
        ) from None
    if lines[0].startswith("#version"):
        lines = lines[1:]
    return [line.removesuffix("\r") for line in lines if line.strip()]
