"""Ids equal those that llama-cpp-python gave when stored_ids.json was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from shared_data import shared
from tokenizer.peer import our_tokenizer, write_vocabulary
from tokenizer.stored_ids import PUBLIC, STORED, digest, names_of, small_keys, stored_texts

FILE: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
SMALL = [(model, pre) for model in FILE["small"] for pre in names_of(model)]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_vocabularies(name: str) -> None:
    tokenizer = our_tokenizer(shared(f"vocab/ggml-vocab-{name}.gguf"))
    assert digest(map(tokenizer.encode, stored_texts())) == FILE["digests"][name]


@pytest.mark.parametrize(("model", "pre"), SMALL)
def test_small_vocabularies(model: str, pre: str, tmp_path: Path) -> None:
    path = write_vocabulary(tmp_path / "small.gguf", small_keys(FILE["small"][model], pre))
    tokenizer = our_tokenizer(path)
    found = [tokenizer.encode(text, add_bos=False) for text in stored_texts()]
    expected = FILE["ids"][f"{model}/{pre}"]
    assert found[: len(expected)] == expected
    assert digest(found) == FILE["digests"][f"{model}/{pre}"]
