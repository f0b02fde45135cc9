"""Texts to ids, and the same by the library underneath, called directly.

`pytest -s benchmarks/tokenizer` prints the ratio of the two speeds, which are per second of
processor time; the bar is 0.9.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from shared_data import shared
from tokenizers import Tokenizer as Library
from tokenizers import models, normalizers, pre_tokenizers

from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.tokenizer.bpe import BpeTokenizer
from pyllama_rt.tokenizer.registry import load_tokenizer
from pyllama_rt.tokenizer.spm import SpmTokenizer
from pyllama_rt.tokenizer.wordpiece import WordPieceTokenizer

VOCABULARIES = ("llama-spm", "phi-3", "gpt-2", "llama-bpe", "qwen2", "deepseek-llm", "bert-bge")
TEXT = "text/wikitext-2.valid.txt"
N_ROUNDS = 9

Encode = Callable[[str], list[int]]


def encoders(path: Path) -> tuple[Encode, Encode]:
    """Ours and the library's."""
    with GgufFile.open(path) as file:
        tokenizer = load_tokenizer(file, path)

    def ours(text: str) -> list[int]:
        return tokenizer.encode(text, add_bos=False)

    if isinstance(tokenizer, SpmTokenizer):
        processor = tokenizer._processor
        return ours, lambda text: processor.EncodeAsIds(" " + text)
    if isinstance(tokenizer, BpeTokenizer):
        library = tokenizer._library
    else:
        assert isinstance(tokenizer, WordPieceTokenizer)
        library = word_pieces(tokenizer)
    return ours, lambda text: library.encode(text, add_special_tokens=False).ids


def word_pieces(tokenizer: WordPieceTokenizer) -> Library:
    """The library's own WordPiece, its vocabulary written as BERT's files have it."""
    ids = {}
    for i, piece in enumerate(tokenizer.table.pieces):
        special = piece in tokenizer.special_pieces
        ids[piece if special else piece[1:] if piece[0] == "▁" else "##" + piece] = i
    library = Library(models.WordPiece(ids, unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer()
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return library


def best_s(calls: list[Callable[[], object]]) -> list[float]:
    """Least processor time of each of `calls`, which take turns: a busy machine is fair to all."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(N_ROUNDS):
        for call, found in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            found.append(time.process_time() - start)
    return [min(found) for found in times]


@pytest.mark.parametrize("size", ["megabyte", "short"])
@pytest.mark.parametrize("name", VOCABULARIES)
def test_encode(benchmark: BenchmarkFixture, name: str, size: str) -> None:
    ours, library = encoders(shared(f"vocab/ggml-vocab-{name}.gguf"))
    text = shared(TEXT).read_text(encoding="utf-8")[:1_000_000]
    texts = [text] if size == "megabyte" else [text[i : i + 60] for i in range(0, 120_000, 60)]

    def all_of(encode: Encode) -> Callable[[], object]:
        return lambda: [encode(each) for each in texts]

    ours_s, library_s = best_s([all_of(ours), all_of(library)])
    ratio = library_s / ours_s
    n_bytes = sum(len(each.encode()) for each in texts)
    benchmark.extra_info["ratio"] = round(ratio, 3)
    print(f"\n{name}, {size}: {n_bytes / ours_s / 1e6:.2f} MB/s, {ratio:.2f} x the library's speed")
    benchmark(all_of(ours))
