"""Public vocabularies written as `tokenizer.json` come back as the public GGUF files have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from shared_data import shared
from tokenizer_files import LLAMA_3, QWEN_2, byte_level, split
from tokenizers import Tokenizer, models

from pyllama_rt.convert.huggingface_vocabulary import read_vocabulary
from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.tokenizer.model_proto import CONTROL, NORMAL

CUTS: dict[str, Any] = {
    "llama-bpe": byte_level(split(LLAMA_3)),
    "qwen2": byte_level(split(QWEN_2)),
    "gpt-2": byte_level(use_regex=True),
}


@pytest.mark.parametrize("name", CUTS)
def test_byte_level_vocabularies_come_back(name: str, tmp_path: Path) -> None:
    with GgufFile.open(shared(f"vocab/ggml-vocab-{name}.gguf")) as file:
        pieces = file.get_strings("tokenizer.ggml.tokens")
        types = file.get_ints("tokenizer.ggml.token_type")
        merges = file.get_strings("tokenizer.ggml.merges")
    n = 1 + max(i for i, kind in enumerate(types) if kind in (NORMAL, CONTROL))  # without padding
    described = Tokenizer(models.BPE(ignore_merges=name == "llama-bpe"))
    described.pre_tokenizer = CUTS[name]
    content = json.loads(described.to_str())
    content["model"]["vocab"] = {pieces[i]: i for i in range(n) if types[i] == NORMAL}
    content["model"]["merges"] = merges
    content["added_tokens"] = [
        {"id": i, "content": pieces[i], "special": True} for i in range(n) if types[i] != NORMAL
    ]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    config = JsonMetadata({}, tmp_path / "config.json")
    keys = read_vocabulary(tmp_path, config, len(pieces)).gguf_keys()
    assert keys["tokenizer.ggml.pre"] == name
    assert keys["tokenizer.ggml.tokens"] == pieces
    assert keys["tokenizer.ggml.merges"] == merges
    assert list(keys["tokenizer.ggml.token_type"][:n]) == types[:n]


def test_a_wordpiece_vocabulary_comes_back(tmp_path: Path) -> None:
    with GgufFile.open(shared("vocab/ggml-vocab-bert-bge.gguf")) as file:
        pieces = file.get_strings("tokenizer.ggml.tokens")
        types = file.get_ints("tokenizer.ggml.token_type")
        roles = ("unknown", "seperator", "padding", "cls", "mask")
        ids = {
            f"tokenizer.ggml.{role}_token_id": file.get_int(f"tokenizer.ggml.{role}_token_id")
            for role in roles
        }
    lines = [
        piece if kind == CONTROL else piece[1:] if piece.startswith("▁") else f"##{piece}"
        for piece, kind in zip(pieces, types, strict=True)
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = JsonMetadata({}, tmp_path / "config.json")
    keys = read_vocabulary(tmp_path, config, len(pieces)).gguf_keys()
    assert keys["tokenizer.ggml.tokens"] == pieces
    assert list(keys["tokenizer.ggml.token_type"]) == types
    assert {key: keys[key] for key in ids} == ids
