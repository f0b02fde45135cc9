from __future__ import annotations

import pytest
from shared_data import shared
from timing import cpu_s, untraced
from tokenizer.metadata import alphabet, fake_bpe, words

from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.tokenizer.bpe import BYTE_ALPHABET
from pyllama_rt.tokenizer.registry import load_tokenizer

MAX_LOAD_S = 1.5
"""Twice what the largest takes; the rest is room for a busy machine."""


def load_s(meta: MetadataReader) -> float:
    """Processor time of building the tokenizer."""
    seconds = cpu_s(lambda: load_tokenizer(meta, "x.gguf"), 3)
    print(f"\nloaded in {1000 * seconds:.0f} ms of processor time")
    return seconds


@pytest.mark.parametrize("name", ["llama-bpe", "qwen2", "deepseek-llm", "bert-bge", "llama-spm"])
def test_public_vocabularies_load_quickly(name: str) -> None:
    untraced()
    with GgufFile.open(shared(f"vocab/ggml-vocab-{name}.gguf")) as file:
        assert load_s(file) < MAX_LOAD_S


def test_all_pairs_of_bytes_load_quickly() -> None:
    untraced()
    pairs = [(left, right) for left in BYTE_ALPHABET for right in BYTE_ALPHABET]
    pieces = [*alphabet(), *words(*(left + right for left, right in pairs))]
    meta = fake_bpe(pieces, [f"{left} {right}" for left, right in pairs])
    assert load_s(meta) < MAX_LOAD_S
