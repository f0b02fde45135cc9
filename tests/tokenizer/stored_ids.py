"""Writes stored_ids.json: what llama-cpp-python makes of generated texts, for test_stored_ids.py.

usage: PYTHONPATH=tests:. python tests/tokenizer/stored_ids.py

Of public vocabularies only digests of ids are stored. Small vocabularies of our own, trained on
generated texts, are stored with it, and some ids in full.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from shared_data import shared
from tokenizer.generated_texts import texts
from tokenizer.peer import Peer, write_vocabulary
from tokenizers import Regex, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Library

from pyllama_rt.tokenizer.bpe import BYTE_ALPHABET
from pyllama_rt.tokenizer.pre_tokenizers import GPT_2, PRE_TOKENIZERS

STORED = Path(__file__).with_name("stored_ids.json")
PUBLIC = ("llama-spm", "phi-3", "gpt-2", "llama-bpe", "qwen2", "deepseek-llm", "bert-bge")
N_TEXTS, SEED = 1000, 11
N_IN_FULL = 8


def digest(ids: Iterable[list[int]]) -> str:
    """Of lists of ids, in their order."""
    found = hashlib.sha256()
    for each in ids:
        found.update(np.array([len(each), *each], "<u4").tobytes())
    return found.hexdigest()[:16]


def stored_texts(count: int = N_TEXTS) -> list[str]:
    """The texts whose ids are stored."""
    return list(texts(SEED, count, old=True))


def small_keys(small: dict[str, Any], pre: str) -> dict[str, Any]:
    """GGUF's keys of a stored small vocabulary."""
    prefix = "tokenizer.ggml."
    keys: dict[str, Any] = {
        "general.architecture": "llama",
        prefix + "model": small["model"],
        prefix + "pre": pre,
        prefix + "tokens": small["pieces"],
        prefix + "token_type": np.array(small["types"], np.int32),
    }
    keys |= {prefix + key: small[key] for key in ("merges",) if key in small}
    ids = {"bos_token_id": "[CLS]", "unknown_token_id": "[UNK]", "seperator_token_id": "[SEP]"}
    for key, text in ids.items():
        keys[prefix + key] = np.uint32(small["pieces"].index(text))
    return keys


def train(model: str) -> dict[str, Any]:
    """A small vocabulary: pieces, types, merges."""
    special = ["[UNK]", "[CLS]", "[SEP]", "<tag>"]
    trainer: Any
    if model == "bert":
        library = Library(models.WordPiece({}, unk_token="[UNK]"))
        library.normalizer = normalizers.BertNormalizer()
        library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=700, limit_alphabet=250, special_tokens=special, show_progress=False
        )
    else:
        library = Library(models.BPE(byte_fallback=model == "gemma4"))
        alphabet, limit = list(BYTE_ALPHABET), 256
        if model == "gemma4":
            special += [f"<0x{byte:02X}>" for byte in range(256)]
            library.normalizer = normalizers.Replace(" ", "▁")
            library.pre_tokenizer = pre_tokenizers.Split(Regex("\n+"), "isolated")
            alphabet, limit = [], 120
        else:
            split = pre_tokenizers.Split(Regex(GPT_2), "isolated")
            bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            library.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_])
        trainer = trainers.BpeTrainer(
            vocab_size=700, limit_alphabet=limit, initial_alphabet=alphabet,
            special_tokens=special, show_progress=False,
        )  # fmt: skip
    library.train_from_iterator(texts(3, 4000, old=True), trainer)
    trained = json.loads(library.to_str())["model"]
    ids: dict[str, int] = trained["vocab"]
    pieces = sorted(ids, key=ids.__getitem__)
    types = [2 if p == "[UNK]" else 4 if p == "<tag>" else 3 if p in special else 1 for p in pieces]
    if model == "gemma4":
        types = [6 if p.startswith("<0x") else kind for p, kind in zip(pieces, types, strict=True)]
    if model == "bert":
        pieces = [p if p in special else p[2:] if p.startswith("##") else "▁" + p for p in pieces]
    small: dict[str, Any] = {"model": model, "pieces": pieces, "types": types}
    if model != "bert":
        small["merges"] = [" ".join(merge) for merge in trained["merges"]]
    return small


def names_of(model: str) -> list[str]:
    """The pre-tokenizers with which a small vocabulary is used."""
    if model != "gpt2":
        return [""]
    return [name for name, pre in PRE_TOKENIZERS.items() if pre.byte_level]


def main() -> None:
    """Asks llama-cpp-python for everything and writes the file."""
    inputs = stored_texts()
    stored: dict[str, Any] = {"digests": {}, "small": {}, "ids": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in PUBLIC:
            peer = Peer(shared(f"vocab/ggml-vocab-{name}.gguf"))
            found = [peer.encode(text, add_special=True, special=False) for text in inputs]
            stored["digests"][name] = digest(found)
        for model in ("gpt2", "gemma4", "bert"):
            small = stored["small"][model] = train(model)
            for pre in names_of(model):
                path = write_vocabulary(Path(folder, "small.gguf"), small_keys(small, pre))
                peer = Peer(path)
                found = [peer.encode(text, add_special=False, special=False) for text in inputs]
                name = f"{model}/{pre}"
                stored["digests"][name] = digest(found)
                stored["ids"][name] = found[:N_IN_FULL]
    with STORED.open("w", encoding="utf-8", newline="\n") as file:
        json.dump(stored, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
