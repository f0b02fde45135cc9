"""A vocabulary on its way into GGUF metadata: what all kinds share, and SentencePiece's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.tokenizer.model_proto import UNUSED, USER_DEFINED
from pyllama_rt.tokenizer.vocabulary import Vocabulary

ADDED_SCORE = -1000.0
"""Score of pieces that no merge may produce; any below all learnt scores does."""

SPECIAL_KEYS = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "eot": "eot_token_id",
    "eom": "eom_token_id",
    "unk": "unknown_token_id",
    "pad": "padding_token_id",
    "cls": "cls_token_id",
    "sep": "seperator_token_id",  # spelt so
    "mask": "mask_token_id",
}
"""Role of a special piece -> its key under `tokenizer.ggml.`."""


class SpecialId(NamedTuple):
    """The id of a special piece, and the file that said it."""

    token: int
    source: object


@dataclass
class VocabularyDraft:
    """Pieces with scores and types (numbers of `model_proto`), one entry per id.

    roles: special pieces that the files around it may name.
    source: the file, for messages. files: everything that was read.
    special_ids: by role, a key of SPECIAL_KEYS. framed: those around a text, whatever others say.
    chat_templates: Jinja text by name, "" the default.
    """

    roles: ClassVar[tuple[str, ...]] = ("bos", "eos", "unk", "pad")

    source: Path
    pieces: list[str]
    scores: list[float]
    types: list[int]
    files: list[Path] = field(default_factory=list)
    special_ids: dict[str, SpecialId] = field(default_factory=dict)
    framed: dict[str, SpecialId] = field(default_factory=dict)
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

        Raises: FormatError for what the reader of such a file would refuse.
        """
        texts = self._texts()
        for role, (token, source) in self.special_ids.items():
            if not 0 <= token < len(texts):
                raise FormatError.at(
                    source, f"{role} id", expected=f"0 to {len(texts) - 1}", found=shown(token)
                )
        self._check(texts, {role: token for role, (token, _) in self.special_ids.items()})
        ids = {
            f"tokenizer.ggml.{SPECIAL_KEYS[role]}": token
            for role, (token, _) in self.special_ids.items()
        }
        return {**self._own_keys(texts), **ids, **self._flags(), **self._template_keys()}

    def _own_keys(self, texts: list[str]) -> dict[str, Any]:
        """The kind, and what it needs for each piece."""
        return {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.tokens": texts,
            "tokenizer.ggml.scores": np.array(self.scores, np.float32),
            "tokenizer.ggml.token_type": np.array(self.types, np.int32),
        }

    def _flags(self) -> dict[str, Any]:
        return {
            "tokenizer.ggml.add_bos_token": self.add_bos,
            "tokenizer.ggml.add_eos_token": self.add_eos,
            "tokenizer.ggml.add_space_prefix": self.add_space_prefix,
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

    def _check(self, texts: list[str], ids: dict[str, int]) -> None:
        """By the rules of the reader, so that no file is written that nobody loads."""
        Vocabulary(
            source=str(self.source),
            pieces=texts,
            scores=self.scores,
            types=self.types,
            unk_id=ids.get("unk"),
            bos_id=ids.get("bos"),
            eos_id=ids.get("eos"),
            add_bos=self.add_bos,
            add_eos=self.add_eos,
        )
