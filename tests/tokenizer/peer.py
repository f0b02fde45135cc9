"""llama-cpp-python as a tokenizer, and vocabularies written for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyllama_rt.formats.gguf import GgufFile, GgufWriter
from pyllama_rt.tokenizer.protocol import Tokenizer
from pyllama_rt.tokenizer.registry import load_tokenizer


class Peer:
    """The other program's tokenizer of a vocabulary-only file."""

    def __init__(self, path: Path) -> None:
        self._llama_cpp = pytest.importorskip("llama_cpp")
        model = self._llama_cpp.Llama(model_path=str(path), vocab_only=True, verbose=False)
        self._model = model  # frees the vocabulary when it goes
        self._vocab = self._llama_cpp.llama_model_get_vocab(model._model.model)
        self._room = (self._llama_cpp.llama_token * (1 << 16))()

    def encode(self, text: str | bytes, *, add_special: bool, special: bool) -> list[int]:
        """Its ids. add_special: with what goes around a text. special: with special parsing."""
        data = text.encode() if isinstance(text, str) else text
        found = self._llama_cpp.llama_tokenize(
            self._vocab, data, len(data), self._room, len(self._room), add_special, special
        )
        assert found >= 0
        return list(self._room[:found])

    def eog_ids(self) -> set[int]:
        """The ids that end a generation."""
        n_vocab = self._llama_cpp.llama_vocab_n_tokens(self._vocab)
        return {i for i in range(n_vocab) if self._llama_cpp.llama_vocab_is_eog(self._vocab, i)}

    def piece(self, token: int, *, special: bool) -> bytes:
        """The bytes of one id."""
        room = bytearray(4096)
        buffer = (self._llama_cpp.ctypes.c_char * 4096).from_buffer(room)
        found = self._llama_cpp.llama_token_to_piece(self._vocab, token, buffer, 4096, 0, special)
        return bytes(room[:found])


def our_tokenizer(path: Path) -> Tokenizer:
    """Ours, of the same file."""
    with GgufFile.open(path) as file:
        return load_tokenizer(file, path)


def write_vocabulary(path: Path, keys: dict[str, Any], *, like: Path | None = None) -> Path:
    """A vocabulary-only GGUF file with `keys`; those of `like` first, where they differ not."""
    with GgufWriter(path) as writer:
        if like is not None:
            with GgufFile.open(like) as file:
                for key in file.metadata:
                    if key not in keys:
                        writer.copy(file.metadata, key)
        for key, value in keys.items():
            if value is not None:
                writer.add(key, value)
    return path
