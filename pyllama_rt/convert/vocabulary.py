"""A SentencePiece vocabulary on its way into GGUF metadata."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.tokenizer.model_proto import UNUSED, USER_DEFINED

ADDED_SCORE = -1000.0
"""Score of pieces that no merge may produce; any below all learnt scores does."""

SPECIAL_KEYS = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "eot": "eot_token_id",
    "eom": "eom_token_id",
    "unk": "unknown_token_id",
    "pad": "padding_token_id",
}
"""Role of a special piece -> its key under `tokenizer.ggml.`."""


@dataclass
class Vocabulary:
    """Pieces with scores and types (numbers of `model_proto`), one entry per id.

    source: the file, for messages. special_ids: by role, a key of SPECIAL_KEYS.
    chat_templates: Jinja text by name, "" the default one.
    """

    source: str
    pieces: list[str]
    scores: list[float]
    types: list[int]
    special_ids: dict[str, int] = field(default_factory=dict)
    add_bos: bool = True
    add_eos: bool = False
    add_space_prefix: bool = True
    chat_templates: dict[str, str] = field(default_factory=dict)

    def pad(self, n_rows: int) -> None:
        """Fill up to the rows of the embedding, which some models round up, with unused pieces.

        Raises: FormatError if there are more pieces than rows.
        """
        n_pieces = len(self.pieces)
        if n_pieces > n_rows:
            raise FormatError(
                f"{self.source}: {n_pieces} pieces, but the embedding has {n_rows} rows; this "
                "tokenizer belongs to another checkpoint"
            )
        self.pieces += [f"[PAD{i}]" for i in range(n_pieces, n_rows)]
        self.scores += [ADDED_SCORE] * (n_rows - n_pieces)
        self.types += [UNUSED] * (n_rows - n_pieces)

    def gguf_keys(self) -> dict[str, Any]:
        """All `tokenizer.*` keys.

        Raises: FormatError for pieces that are empty or repeated, scores that are not finite, and
            special ids outside the vocabulary.
        """
        self._check()
        ids = {
            f"tokenizer.ggml.{SPECIAL_KEYS[role]}": token
            for role, token in self.special_ids.items()
        }
        return {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.tokens": self._texts(),
            "tokenizer.ggml.scores": np.array(self.scores, np.float32),
            "tokenizer.ggml.token_type": np.array(self.types, np.int32),
            **ids,
            "tokenizer.ggml.add_bos_token": self.add_bos,
            "tokenizer.ggml.add_eos_token": self.add_eos,
            "tokenizer.ggml.add_space_prefix": self.add_space_prefix,
            **self._template_keys(),
        }

    def _texts(self) -> list[str]:
        """GGUF keeps plain spaces in user-defined pieces, which are matched in the raw text."""
        return [
            piece.replace("▁", " ") if kind == USER_DEFINED else piece
            for piece, kind in zip(self.pieces, self.types, strict=True)
        ]

    def _template_keys(self) -> dict[str, Any]:
        named = sorted(name for name in self.chat_templates if name)
        keys: dict[str, Any] = {
            f"tokenizer.chat_template.{name}": self.chat_templates[name] for name in named
        }
        if named:
            keys["tokenizer.chat_templates"] = named
        if "" in self.chat_templates:
            keys["tokenizer.chat_template"] = self.chat_templates[""]
        return keys

    def _check(self) -> None:
        seen: dict[str, int] = {}
        for i, piece in enumerate(self.pieces):
            if not piece:
                raise self._error(f"piece {i}", "some text", "none")
            first = seen.setdefault(piece, i)
            if first != i:
                raise self._error(
                    f"piece {i}", "a new piece", f"{shown(piece)}, also piece {first}"
                )
            if not math.isfinite(self.scores[i]):
                raise self._error(f"score of piece {i}", "a finite number", self.scores[i])
        for role, token in self.special_ids.items():
            if not 0 <= token < len(self.pieces):
                raise self._error(f"{role} id", f"0 to {len(self.pieces) - 1}", token)
        for flag, role in ((self.add_bos, "bos"), (self.add_eos, "eos")):
            if flag and role not in self.special_ids:
                raise self._error(f"add_{role}_token", f"a {role} piece", "none")

    def _error(self, name: str, expected: object, found: object) -> FormatError:
        return FormatError.at(self.source, name, expected=expected, found=found)
