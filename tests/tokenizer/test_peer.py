"""Ids, pieces and ends of generation equal those of llama-cpp-python.

`pytest -m peer tests/tokenizer/test_peer.py` compares 10,000 texts a vocabulary, with
`--fuzz-rounds 100` a million. Left out are characters that are new in Unicode 16, which llama.cpp's
tables (15.1) do not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared_data import shared
from tokenizer.generated_texts import NEW_CHARACTERS, texts, with_invalid_bytes
from tokenizer.peer import Peer, our_tokenizer, write_vocabulary

from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.tokenizer.pre_tokenizers import PRE_TOKENIZER_ALIASES, PRE_TOKENIZERS
from pyllama_rt.tokenizer.protocol import Tokenizer

pytestmark = pytest.mark.peer

N_TEXTS = 10_000
VOCABULARIES = ("llama-spm", "phi-3", "gpt-2", "llama-bpe", "qwen2", "deepseek-llm", "bert-bge")
KEYS = ("tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type")


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


@pytest.mark.parametrize("prefix", [True, False])
def test_runs_of_white_space_that_are_pieces(
    prefix: bool, fuzz_rounds: int, tmp_path: Path
) -> None:
    """Gemma's way: no space before a text, runs of spaces and of newlines USER_DEFINED."""
    like = shared("vocab/ggml-vocab-llama-spm.gguf")
    runs = [char * n for char in " \n\t" for n in range(2, 32)]
    added = [(text, 4) for text in (*runs, "<table>", "</table>")]
    added += [("<start_of_turn>", 3), ("<end_of_turn>", 3)]
    with GgufFile.open(like) as file:
        tokens, scores, types = KEYS
        keys: dict[str, Any] = {
            tokens: [*file.get_strings(tokens), *(text for text, _ in added)],
            scores: np.array([*file.get_floats(scores), *[0.0] * len(added)], np.float32),
            types: np.array([*file.get_ints(types), *(kind for _, kind in added)], np.int32),
            "tokenizer.ggml.add_space_prefix": prefix,
        }
    path = write_vocabulary(tmp_path / "m.gguf", keys, like=like)
    ours, peer = our_tokenizer(path), Peer(path)
    assert ours.eog_ids == peer.eog_ids()
    special = [*special_texts(ours), "<table>"]
    check_equal(ours, peer, texts(8, N_TEXTS // 2 * fuzz_rounds, special=special))


@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "qwen2", "deepseek-llm"])
def test_bytes_that_are_not_utf_8(name: str) -> None:
    """Ours keep them where there is a piece; the peer has U+FFFD for each."""
    path = shared(f"vocab/ggml-vocab-{name}.gguf")
    ours, peer = our_tokenizer(path), Peer(path)
    for data in with_invalid_bytes(5, texts(6, 1000)):
        if name != "deepseek-llm":  # which has no pieces for some that are in no UTF-8
            assert ours.decode(ours.encode(data, add_bos=False)) == data
        escaped = data.decode("utf-8", "surrogateescape")
        replaced = "".join("\ufffd" if "\udc80" <= c <= "\udcff" else c for c in escaped)
        expected = peer.encode(data, add_special=False, special=False)
        assert ours.encode(replaced, add_bos=False) == expected


def test_bytes_that_are_not_utf_8_in_word_pieces() -> None:
    path = shared("vocab/ggml-vocab-bert-bge.gguf")
    ours, peer = our_tokenizer(path), Peer(path)
    for data in with_invalid_bytes(5, texts(6, 1000)):
        expected = peer.encode(data, add_special=False, special=False)
        assert ours.encode(data, add_bos=False) == expected


def test_only_characters_new_in_unicode_16_differ(tmp_path: Path) -> None:
    """The library's tables know them (its version 0.23), the peer's do not."""
    keys = {"tokenizer.ggml.pre": "falcon"}
    like = shared("vocab/ggml-vocab-gpt-2.gguf")
    path = write_vocabulary(tmp_path / "m.gguf", keys, like=like)
    differ = characters_that_differ(our_tokenizer(path), Peer(path))
    assert differ
    assert differ <= NEW_CHARACTERS


def test_only_characters_new_in_unicode_16_differ_in_words_of_bert() -> None:
    path = shared("vocab/ggml-vocab-bert-bge.gguf")
    differ = characters_that_differ(our_tokenizer(path), Peer(path))
    assert differ
    assert differ <= NEW_CHARACTERS


def characters_that_differ(ours: Tokenizer, peer: Peer) -> set[str]:
    """Of all characters, those that give other ids; many lines at a time, since most are equal."""

    def equal(text: str) -> bool:
        found = ours.encode(text, add_bos=False)
        return found == peer.encode(text, add_special=False, special=False)

    chars = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    differ: set[str] = set()
    for at in range(0, len(chars), 64):
        lines = {char: f"a{char}a{char}1{char}. {char} " for char in chars[at : at + 64]}
        if not equal("\n".join(lines.values())):
            differ |= {char for char, line in lines.items() if not equal(line)}
    return differ
