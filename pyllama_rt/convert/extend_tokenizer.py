"""`extend_tokenizer`: a `tokenizer.model` extended by the pieces of another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyllama_rt.convert.write import check_output
from pyllama_rt.formats.atomic_file import atomic_file
from pyllama_rt.small_file import read_small_file
from pyllama_rt.tokenizer.merge import MergedVocabulary, merge_vocabularies
from pyllama_rt.tokenizer.model_proto import MAX_FILE_BYTES, read_sentencepiece_model
from pyllama_rt.tokenizer.spm import SpmTokenizer
from pyllama_rt.tokenizer.vocabulary import Vocabulary

_FILE = "tokenizer.model"


@dataclass(frozen=True)
class TokenCounts:
    """How many tokens a text takes, without BOS."""

    text: str
    before: int
    after: int


@dataclass(frozen=True)
class ExtensionReport:
    """What was written, and what it does to the texts that were given."""

    merged: MergedVocabulary
    texts: tuple[TokenCounts, ...]


def extend_tokenizer(
    base: str | os.PathLike[str],
    extra: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    texts: Sequence[str] = (),
) -> ExtensionReport:
    """Writes the pieces of `base` and those that `extra` adds to it, whole or not at all.

    The base's pieces, scores and types stay as they are, with their ids; normal pieces of `extra`
    that it lacks follow in order with score 0.

    Args:
        base, extra: `tokenizer.model` files, or folders that hold one.
        out: The file to write; an older one is replaced.
        texts: Texts to count the tokens of before and after.
    Raises:
        PyllamaRtError of the class that fits: one line with file, expectation and finding.
    """
    target = Path(out)
    base_file, extra_file = _model_file(Path(base)), _model_file(Path(extra))
    check_output(target, (base_file, extra_file))
    data = read_small_file(base_file, MAX_FILE_BYTES)
    added = read_small_file(extra_file, MAX_FILE_BYTES)
    _vocabulary(added, extra_file)
    merged = merge_vocabularies(data, added, base_file, extra_file)
    before, after = _tokenizer(data, base_file), _tokenizer(merged.data, target)
    counts = tuple(
        TokenCounts(
            text, len(before.encode(text, add_bos=False)), len(after.encode(text, add_bos=False))
        )
        for text in texts
    )
    with atomic_file(target) as file:
        file.write(merged.data)
    return ExtensionReport(merged, counts)


def _model_file(path: Path) -> Path:
    return path / _FILE if path.is_dir() else path


def _tokenizer(data: bytes, file: Path) -> SpmTokenizer:
    return SpmTokenizer(_vocabulary(data, file))


def _vocabulary(data: bytes, file: Path) -> Vocabulary:
    """By the rules of the reader, so that nothing is written that nobody loads."""
    return Vocabulary.from_sentencepiece(read_sentencepiece_model(data, file), file)
