"""Large vocabularies: quick to open, and the public ones all read."""

from __future__ import annotations

from pathlib import Path

import pytest
from shared_data import shared
from timing import cpu_s, untraced

from pyllama_rt.formats.gguf import GgufFile, GgufWriter

PUBLIC = ("bert-bge", "deepseek-llm", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2")
MAX_OPEN_S = 0.150


def open_s(path: Path) -> float:
    seconds = cpu_s(lambda: GgufFile.open(path).close())
    print(f"\nopened in {1000 * seconds:.0f} ms of processor time")
    return seconds


def test_128k_pieces_and_280k_merges_open_quickly(tmp_path: Path) -> None:
    untraced()
    path = tmp_path / "m.gguf"
    tokens = [f"piece{i}" for i in range(128_000)]
    merges = [f"pie{i} ce{i}" for i in range(280_000)]
    with GgufWriter(path) as writer:
        writer.add("tokenizer.ggml.tokens", tokens)
        writer.add("tokenizer.ggml.merges", merges)
        writer.add("tokenizer.ggml.scores", [0.5] * len(tokens))
    assert open_s(path) < MAX_OPEN_S
    with GgufFile.open(path) as file:
        assert file.get_strings("tokenizer.ggml.tokens") == tokens
        assert file.get_strings("tokenizer.ggml.merges") == merges


@pytest.mark.parametrize("name", PUBLIC)
def test_public_vocabularies_open_quickly(name: str) -> None:
    untraced()
    assert open_s(shared(f"vocab/ggml-vocab-{name}.gguf")) < MAX_OPEN_S


@pytest.mark.parametrize("name", PUBLIC)
def test_public_vocabularies_are_copied(name: str, tmp_path: Path) -> None:
    path = shared(f"vocab/ggml-vocab-{name}.gguf")
    with GgufFile.open(path) as file, GgufWriter(tmp_path / "copy.gguf") as writer:
        tokens = file.get_strings("tokenizer.ggml.tokens")
        assert len(tokens) > 30_000
        assert len(file.get_ints("tokenizer.ggml.token_type")) == len(tokens)
        for key in file.metadata:
            value = file.metadata[key]
            writer.add(key, value, file.value_type(key), file.element_type(key))
    data = path.read_bytes()
    assert (tmp_path / "copy.gguf").read_bytes() == data + bytes(-len(data) % 32)
