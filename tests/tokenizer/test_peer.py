"""Ids, pieces and ends of generation equal those of llama-cpp-python.

`pytest -m peer tests/tokenizer/test_peer.py` compares 10,000 texts a vocabulary, with
`--fuzz-rounds 100` a million. Left out are characters that are new in Unicode 16, which llama.cpp's
tables (15.1) do not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from shared_data import shared
from tokenizer.generated_texts import texts
from tokenizer.peer import Peer, our_tokenizer, write_vocabulary

from pyllama_rt.tokenizer.pre_tokenizers import PRE_TOKENIZER_ALIASES, PRE_TOKENIZERS
from pyllama_rt.tokenizer.protocol import Tokenizer

pytestmark = pytest.mark.peer

N_TEXTS = 10_000
VOCABULARIES = ("llama-spm", "phi-3", "gpt-2", "llama-bpe", "qwen2", "deepseek-llm", "bert-bge")


def special_texts(tokenizer: Tokenizer) -> list[str]:
    """Some special pieces of a vocabulary, not hundreds of reserved ones."""
    names = [text for text in tokenizer.special_pieces if "reserved" not in text]
    return [text for text in names if "unused" not in text and "[PAD" not in text][:40]


def check_equal(ours: Tokenizer, peer: Peer, source: Iterator[str]) -> None:
    """Each text with special parsing or without, with what goes around it or without."""
    for i, text in enumerate(source):
        special, around = i % 2 == 0, i % 4 < 2
        found = ours.encode(text, add_bos=None if around else False, special=special)
        expected = peer.encode(text, add_special=around, special=special)
        assert found == expected, (text, special)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_ids_of_public_vocabularies(name: str, fuzz_rounds: int) -> None:
    path = shared(f"vocab/ggml-vocab-{name}.gguf")
    ours, peer = our_tokenizer(path), Peer(path)
    check_equal(ours, peer, texts(7, N_TEXTS * fuzz_rounds, special=special_texts(ours)))


@pytest.mark.parametrize("name", VOCABULARIES)
def test_pieces_and_ends_of_public_vocabularies(name: str) -> None:
    path = shared(f"vocab/ggml-vocab-{name}.gguf")
    ours, peer = our_tokenizer(path), Peer(path)
    assert ours.eog_ids == peer.eog_ids()
    for token in range(ours.n_vocab):
        for special in (True, False):
            assert ours.piece(token, special=special) == peer.piece(token, special=special)


@pytest.mark.parametrize("like", ["gpt-2", "llama-bpe"])
@pytest.mark.parametrize(
    "name",
    [*(name for name, pre in PRE_TOKENIZERS.items() if pre.byte_level), *PRE_TOKENIZER_ALIASES],
)
def test_ids_by_pre_tokenizer(name: str, like: str, fuzz_rounds: int, tmp_path: Path) -> None:
    keys = {"tokenizer.ggml.pre": name}
    path = write_vocabulary(tmp_path / "m.gguf", keys, like=shared(f"vocab/ggml-vocab-{like}.gguf"))
    count = 1000 if name in PRE_TOKENIZERS else 200
    check_equal(our_tokenizer(path), Peer(path), texts(9, count * fuzz_rounds))
