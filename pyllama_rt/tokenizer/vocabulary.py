"""The pieces of a tokenizer with what a model file says about them, checked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.tokenizer.model_proto import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    SentencePieceModel,
)

T = TypeVar("T")

MAX_PIECE_CHARS = 512
"""Far above the longest of public vocabularies; the library recurses once per byte of a piece."""

_END_OF_TURN = (
    "</s>", "<eos>", "[EOS]", "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<turn|>",
    "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<end_of_utterance>",
    "<｜end▁of▁sentence｜>", "<EOT>", "▁<EOT>", "_<EOT>", "[EOT]",
    "<|return|>", "<|call|>", "<|calls|>", "<|flush|>", "<|tool_response>",
    "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>",
    "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<|file_sep|>",
)  # fmt: skip
_FILL_IN = (
    "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<PRE>", "▁<PRE>", "<|code_prefix|>",
    "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<SUF>", "▁<SUF>", "<|code_suffix|>",
    "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<MID>", "▁<MID>", "<|code_middle|>",
    "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>",
)  # fmt: skip
_CONTROL_TEXTS = frozenset(_END_OF_TURN + _FILL_IN)
"""Pieces that are CONTROL whatever a GGUF file says, as measured on llama-cpp-python 0.3.36."""

_TOKENS = "tokenizer.ggml.tokens"
_SCORES = "tokenizer.ggml.scores"
_TYPES = "tokenizer.ggml.token_type"
_END_KEYS = ("eot", "eom", "fim_pad", "fim_rep", "fim_sep")
_STRIPPING_MODELS = ("phi-3", "phi3")
_NOT_STRIPPING = ("<unk>", "<s>", "<|endoftext|>")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """One entry per id, and the special ids.

    Attributes:
        source: File it came from, for error messages.
        pieces: Text of each id; `▁` stands for a space in all but special pieces.
        scores: Merge priority (bpe) or log probability (unigram).
        types: NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED or BYTE of `model_proto`.
        algorithm: "bpe" or "unigram".
        unk_id, bos_id, eos_id, pad_id: None where there is none.
        end_ids: Further ids that end a generation.
        add_bos, add_eos: What is put around a text by default.
        add_space_prefix: Whether a space goes before a text and after each special piece.
        rstrip_ids: Special pieces that swallow the white space behind them.
        remove_extra_whitespaces, precompiled_charsmap: Normalisation of unigram vocabularies.

    Raises: FormatError if any of it contradicts the rest.
    """

    source: str
    pieces: Sequence[str]
    scores: Sequence[float]
    types: Sequence[int]
    algorithm: str = "bpe"
    unk_id: int | None = 0
    bos_id: int | None = None
    eos_id: int | None = None
    pad_id: int | None = None
    end_ids: frozenset[int] = frozenset()
    add_bos: bool = False
    add_eos: bool = False
    add_space_prefix: bool = True
    rstrip_ids: frozenset[int] = frozenset()
    remove_extra_whitespaces: bool = False
    precompiled_charsmap: bytes = b""
    eog_ids: frozenset[int] = field(init=False)
    byte_ids: Sequence[int] | None = field(init=False)

    def __post_init__(self) -> None:
        """Checks everything and derives `eog_ids` and `byte_ids` (256 ids, or None)."""
        self._check_pieces()
        for name in ("unk_id", "bos_id", "eos_id", "pad_id"):
            self._check_id(name, getattr(self, name))
        for token in self.end_ids:
            self._check_id("end-of-turn id", token)
        for flag, special_id in (("add_bos", self.bos_id), ("add_eos", self.eos_id)):
            if getattr(self, flag) and special_id is None:
                raise self._error(flag, f"a {flag[4:]} id", "none")
        byte_ids = self._find_byte_ids()
        if byte_ids is None and self.unk_id is None:
            raise self._error("unknown id", "an unknown piece or all 256 byte pieces", "neither")
        object.__setattr__(self, "byte_ids", byte_ids)
        ends = {i for i in (self.eos_id,) if i is not None} | self.end_ids
        special = (CONTROL, USER_DEFINED)
        texts = frozenset(_END_OF_TURN)
        ends |= {i for i, k in enumerate(self.types) if k in special and self.pieces[i] in texts}
        object.__setattr__(self, "eog_ids", frozenset(ends))

    @classmethod
    def from_metadata(cls, meta: MetadataReader, file: object) -> Vocabulary:
        """The SentencePiece vocabulary that GGUF metadata describe.

        Args:
            meta: The file's metadata. file: Its path, for messages.
        Raises:
            FormatError if a key is missing, has another type or contradicts the rest.
        """
        source = str(file)
        pieces = _required(meta.get_strings(_TOKENS, None), _TOKENS, source)
        scores = _required(meta.get_floats(_SCORES, None), _SCORES, source)
        kinds = list(_required(meta.get_ints(_TYPES, None), _TYPES, source))
        _check_element_type(meta, _SCORES, ("FLOAT32",), source)
        _check_element_type(meta, _TYPES, ("INT32", "UINT32"), source)
        types = [
            CONTROL if piece in _CONTROL_TEXTS else kind
            for piece, kind in zip(pieces, kinds, strict=False)
        ] + kinds[len(pieces) :]

        def token(key: str, default: int | None) -> int | None:
            return meta.get_int(f"tokenizer.ggml.{key}_token_id", default)

        def optional(key: str) -> int | None:
            # Some files name ids past their end here; nothing goes wrong without them.
            found = token(key, None)
            return found if found is not None and 0 <= found < len(pieces) else None

        def flag(key: str, default: bool) -> bool:
            return meta.get_bool(f"tokenizer.ggml.{key}", default)

        return cls(
            source=source,
            pieces=pieces,
            scores=scores,
            types=types,
            unk_id=token("unknown", 0),
            bos_id=token("bos", 1),
            eos_id=token("eos", 2),
            pad_id=optional("padding"),
            end_ids=frozenset(i for k in _END_KEYS if (i := optional(k)) is not None),
            add_bos=flag("add_bos_token", True),
            add_eos=flag("add_eos_token", False),
            add_space_prefix=flag("add_space_prefix", True),
            rstrip_ids=_rstrip_ids(meta.get_str("general.name", ""), pieces, types),
        )

    @classmethod
    def from_sentencepiece(cls, model: SentencePieceModel, file: object) -> Vocabulary:
        """The vocabulary of a `tokenizer.model`; BOS is added where there is one, EOS is not."""

        def token(value: int) -> int | None:
            return None if value < 0 else value

        if model.model_type not in ("bpe", "unigram"):
            raise FormatError.at(
                file, "model_type", expected="bpe or unigram", found=model.model_type
            )
        return cls(
            source=str(file),
            pieces=model.pieces,
            scores=model.scores,
            types=model.types,
            algorithm=model.model_type,
            unk_id=token(model.unk_id),
            bos_id=token(model.bos_id),
            eos_id=token(model.eos_id),
            pad_id=token(model.pad_id),
            add_bos=model.bos_id >= 0,
            add_space_prefix=model.add_dummy_prefix,
            remove_extra_whitespaces=model.remove_extra_whitespaces,
            precompiled_charsmap=model.precompiled_charsmap,
        )

    def _check_pieces(self) -> None:
        n = len(self.pieces)
        if n == 0:
            raise self._error("pieces", "at least one", "none")
        for name, values in (("scores", self.scores), ("types", self.types)):
            if len(values) != n:
                raise self._error(name, f"{n} entries, one per piece", len(values))
        if "" in self.pieces:
            raise self._error(f"piece {self.pieces.index('')}", "some text", "an empty piece")
        if max(map(len, self.pieces)) > MAX_PIECE_CHARS:
            index = max(range(n), key=lambda i: len(self.pieces[i]))
            found = f"{len(self.pieces[index])} characters"
            raise self._error(f"piece {index}", f"up to {MAX_PIECE_CHARS} characters", found)
        if len(set(self.pieces)) != n:
            piece, count = Counter(self.pieces).most_common(1)[0]
            raise self._error("pieces", "different ones", f"{shown(piece)} {count} times")
        if not set(self.types) <= {1, 2, 3, 4, 5, 6}:
            index = next(i for i, kind in enumerate(self.types) if not NORMAL <= kind <= BYTE)
            raise self._error(f"type of piece {index}", "1 to 6", self.types[index])
        if any(map(math.isnan, self.scores)):
            raise self._error("scores", "numbers", "NaN")

    def _check_id(self, name: str, token: int | None) -> None:
        if token is not None and not 0 <= token < len(self.pieces):
            raise self._error(name, f"0 to {len(self.pieces) - 1}", token)

    def _find_byte_ids(self) -> list[int] | None:
        ids: dict[int, int] = {}
        for i, kind in enumerate(self.types):
            if kind == BYTE:
                ids[self._byte_of(i)] = i
        return [ids[value] for value in range(256)] if len(ids) == 256 else None

    def _byte_of(self, index: int) -> int:
        value = byte_value(self.pieces[index])
        if value is None:
            raise self._error(f"byte piece {index}", "<0x00> to <0xFF>", shown(self.pieces[index]))
        return value

    def _error(self, name: str, expected: object, found: object) -> FormatError:
        return FormatError.at(self.source, f"vocabulary {name}", expected=expected, found=found)


def byte_value(piece: str) -> int | None:
    """The byte that a piece such as `<0x0A>` stands for; None for any other text."""
    if len(piece) != 6 or not piece.startswith("<0x") or piece[5] != ">":
        return None
    digits = "0123456789ABCDEF"
    high, low = digits.find(piece[3]), digits.find(piece[4])
    return None if high < 0 or low < 0 else high * 16 + low


def _required(value: T | None, key: str, source: str) -> T:
    if value is None:
        raise FormatError.at(source, key, expected="an array", found="no such key")
    return value


def _check_element_type(
    meta: MetadataReader, key: str, allowed: tuple[str, ...], source: str
) -> None:
    found = meta.element_type(key)
    name = "no array" if found is None else found.name
    if name not in allowed:
        raise FormatError.at(source, key, expected=f"an array of {allowed[0]}", found=name)


def _rstrip_ids(model_name: str, pieces: Sequence[str], types: Sequence[int]) -> frozenset[int]:
    # GGUF has no key for this attribute; llama.cpp too goes by the model's name.
    if not any(name in model_name.lower() for name in _STRIPPING_MODELS):
        return frozenset()
    special = (UNKNOWN, CONTROL, USER_DEFINED)
    return frozenset(
        i
        for i, (piece, kind) in enumerate(zip(pieces, types, strict=False))
        if kind in special and piece not in _NOT_STRIPPING
    )
