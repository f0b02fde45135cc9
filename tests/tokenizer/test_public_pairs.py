"""Public texts and the ids that public vocabularies give them."""

from __future__ import annotations

from pathlib import Path

import pytest
from shared_data import shared

from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.tokenizer.registry import load_tokenizer

NAMES = ("bert-bge", "deepseek-llm", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2")


@pytest.mark.parametrize("name", NAMES)
def test_every_pair(name: str) -> None:
    path = shared(f"vocab/ggml-vocab-{name}.gguf")
    texts = Path(f"{path}.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = Path(f"{path}.out").read_text(encoding="ascii").splitlines()
    with GgufFile.open(path) as file:
        tokenizer = load_tokenizer(file, path)
    assert len(lines) > 40
    for text, line in zip(texts, lines, strict=False):
        assert tokenizer.encode(text, add_bos=False) == [int(word) for word in line.split()], text
