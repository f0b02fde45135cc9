from __future__ import annotations

import pytest
from tokenizer.metadata import fake, small_pieces

from pyllama_rt.errors import FormatError, UnsupportedError
from pyllama_rt.tokenizer.registry import load_tokenizer


def test_known() -> None:
    assert load_tokenizer(fake(small_pieces()), "x.gguf").n_vocab == len(small_pieces())


def test_unknown() -> None:
    with pytest.raises(UnsupportedError, match=r"'lama' \(did you mean 'llama'\?\).*known: llama"):
        load_tokenizer(fake(small_pieces(), model="lama"), "x.gguf")


def test_missing() -> None:
    with pytest.raises(FormatError, match=r"tokenizer\.ggml\.model: expected a string"):
        load_tokenizer(fake(small_pieces(), model=None), "x.gguf")
