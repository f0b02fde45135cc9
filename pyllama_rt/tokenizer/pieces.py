"""What every vocabulary holds: one piece and its type per id, and the special ids, checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TypedDict, TypeVar

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.tokenizer.model_proto import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED

T = TypeVar("T")

MAX_PIECE_CHARS = 512
"""Far above the longest of public vocabularies; SentencePiece recurses once per byte of a piece."""

_END_OF_TURN = (
    "</s>", "<eos>", "[EOS]", "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<turn|>",
    "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<end_of_utterance>",
    "<｜end▁of▁sentence｜>", "<EOT>", "▁<EOT>", "_<EOT>", "[EOT]",
    "<|return|>", "<|call|>", "<|calls|>", "<|flush|>", "<|tool_response>",
    "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]", "[e~[",
    "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
)  # fmt: skip
_FILL_IN = (
    "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<PRE>", "▁<PRE>", "<|code_prefix|>",
    "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<SUF>", "▁<SUF>", "<|code_suffix|>",
    "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<MID>", "▁<MID>", "<|code_middle|>",
    "<|prefix|>", "<|suffix|>", "<|middle|>",
    "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>",
)  # fmt: skip
_CONTROL_TEXTS = frozenset(_END_OF_TURN + _FILL_IN)
"""Pieces that are CONTROL whatever a GGUF file says, as measured on llama-cpp-python 0.3.36."""

_NO_END = {
    "<|end|>": (("<|return|>", "<|call|>"), ("<|calls|>", "<|flush|>")),
    "</s>": (("<|tool_response>",),),
}
"""Pieces that end nothing in vocabularies that have all of one of these groups."""

_TOKENS = "tokenizer.ggml.tokens"
_TYPES = "tokenizer.ggml.token_type"
_END_KEYS = ("eot", "eom", "fim_pad", "fim_rep", "fim_sep")
_STRIPPING_MODELS = ("phi-3", "phi3")
_NOT_STRIPPING = ("<unk>", "<s>", "<|endoftext|>")


class PieceFields(TypedDict):
    """The arguments of a `PieceTable` that metadata hold."""

    source: str
    pieces: Sequence[str]
    types: Sequence[int]
    unk_id: int | None
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    end_ids: frozenset[int]
    add_bos: bool
    add_eos: bool
    rstrip_ids: frozenset[int]


@dataclass(frozen=True, eq=False)
class PieceTable:
    """One entry per id, and the special ids.

    Attributes:
        source: File it came from, for error messages.
        pieces: Text of each id, written as the kind of vocabulary has it.
        types: NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED or BYTE of `model_proto`.
        unk_id, bos_id, eos_id, pad_id: None where there is none.
        end_ids: Further ids that end a generation.
        add_bos, add_eos: What is put around a text by default.
        rstrip_ids: Special pieces that swallow the white space behind them.
        eog_ids: Every id that ends a generation.
        byte_ids: The ids of `<0x00>` to `<0xFF>`; None if any is missing.

    Raises: FormatError if any of it contradicts the rest.
    """

    source: str
    pieces: Sequence[str]
    types: Sequence[int]
    _: KW_ONLY
    unk_id: int | None = None
    bos_id: int | None = None
    eos_id: int | None = None
    pad_id: int | None = None
    end_ids: frozenset[int] = frozenset()
    add_bos: bool = False
    add_eos: bool = False
    rstrip_ids: frozenset[int] = frozenset()
    eog_ids: frozenset[int] = field(init=False)
    byte_ids: Sequence[int] | None = field(init=False)

    def __post_init__(self) -> None:
        """Checks everything and derives `eog_ids` and `byte_ids`."""
        self._check_pieces()
        for name in ("unk_id", "bos_id", "eos_id", "pad_id"):
            self.check_id(name, getattr(self, name))
        for token in self.end_ids:
            self.check_id("end-of-turn id", token)
        for flag, special_id in (("add_bos", self.bos_id), ("add_eos", self.eos_id)):
            if getattr(self, flag) and special_id is None:
                raise self.error(flag, f"a {flag[4:]} id", "none")
        object.__setattr__(self, "byte_ids", self._find_byte_ids())
        object.__setattr__(self, "eog_ids", self._find_eog_ids())

    def check_id(self, name: str, token: int | None) -> None:
        """Raises: FormatError if `token` is neither None nor an id."""
        if token is not None and not 0 <= token < len(self.pieces):
            raise self.error(name, f"0 to {len(self.pieces) - 1}", token)

    def error(self, name: str, expected: object, found: object) -> FormatError:
        """An error about this vocabulary."""
        return FormatError.at(self.source, f"vocabulary {name}", expected=expected, found=found)

    def _check_pieces(self) -> None:
        n = len(self.pieces)
        if n == 0:
            raise self.error("pieces", "at least one", "none")
        if len(self.types) != n:
            raise self.error("types", f"{n} entries, one per piece", len(self.types))
        if "" in self.pieces:
            raise self.error(f"piece {self.pieces.index('')}", "some text", "an empty piece")
        if max(map(len, self.pieces)) > MAX_PIECE_CHARS:
            index = max(range(n), key=lambda i: len(self.pieces[i]))
            found = f"{len(self.pieces[index])} characters"
            raise self.error(f"piece {index}", f"up to {MAX_PIECE_CHARS} characters", found)
        if len(set(self.pieces)) != n:
            piece, count = Counter(self.pieces).most_common(1)[0]
            raise self.error("pieces", "different ones", f"{shown(piece)} {count} times")
        if not set(self.types) <= {1, 2, 3, 4, 5, 6}:
            index = next(i for i, kind in enumerate(self.types) if not NORMAL <= kind <= BYTE)
            raise self.error(f"type of piece {index}", "1 to 6", self.types[index])

    def _find_byte_ids(self) -> list[int] | None:
        ids: dict[int, int] = {}
        for i, kind in enumerate(self.types):
            if kind == BYTE:
                ids[self._byte_of(i)] = i
        return [ids[value] for value in range(256)] if len(ids) == 256 else None

    def _byte_of(self, index: int) -> int:
        value = byte_value(self.pieces[index])
        if value is None:
            raise self.error(f"byte piece {index}", "<0x00> to <0xFF>", shown(self.pieces[index]))
        return value

    def _find_eog_ids(self) -> frozenset[int]:
        special = (CONTROL, USER_DEFINED)
        texts = frozenset(_END_OF_TURN)
        named = {
            piece: i
            for i, (piece, kind) in enumerate(zip(self.pieces, self.types, strict=True))
            if kind in special and piece in texts
        }
        for piece, groups in _NO_END.items():
            if any(named.keys() >= set(group) for group in groups):
                named.pop(piece, None)
        ends = {i for i in (self.eos_id,) if i is not None}
        return frozenset(ends | self.end_ids | set(named.values()))


def read_piece_fields(
    meta: MetadataReader,
    file: object,
    *,
    types_required: bool = False,
    unk_id: int | None = None,
    bos_id: int | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
    add_bos: bool = False,
) -> PieceFields:
    """What GGUF metadata say of any vocabulary; the keywords stand for keys that are missing.

    Args:
        meta: The file's metadata. file: Its path, for messages.
        types_required: Whether the types may not be missing; otherwise all are NORMAL then.
    Raises:
        FormatError if a key is missing or has another type.
    """
    source = str(file)
    pieces = required(meta.get_strings(_TOKENS, None), _TOKENS, source)
    kinds = meta.get_ints(_TYPES, None)
    if kinds is None and not types_required:
        kinds = [NORMAL] * len(pieces)
    else:
        kinds = list(required(kinds, _TYPES, source))
        check_element_type(meta, _TYPES, ("INT32", "UINT32"), source)
    types = [
        CONTROL if piece in _CONTROL_TEXTS else kind
        for piece, kind in zip(pieces, kinds, strict=False)
    ] + kinds[len(pieces) :]

    def token(key: str, default: int | None) -> int | None:
        return meta.get_int(f"tokenizer.ggml.{key}_token_id", default)

    def optional(key: str, default: int | None = None) -> int | None:
        # Some files name ids past their end here; nothing goes wrong without them.
        found = token(key, default)
        return found if found is not None and 0 <= found < len(pieces) else None

    return PieceFields(
        source=source,
        pieces=pieces,
        types=types,
        unk_id=token("unknown", unk_id),
        bos_id=token("bos", bos_id),
        eos_id=token("eos", eos_id),
        pad_id=optional("padding", pad_id),
        end_ids=frozenset(i for k in _END_KEYS if (i := optional(k)) is not None),
        add_bos=meta.get_bool("tokenizer.ggml.add_bos_token", add_bos),
        add_eos=meta.get_bool("tokenizer.ggml.add_eos_token", False),
        rstrip_ids=_rstrip_ids(meta.get_str("general.name", ""), pieces, types),
    )


def byte_value(piece: str) -> int | None:
    """The byte that a piece such as `<0x0A>` stands for; None for any other text."""
    if len(piece) != 6 or not piece.startswith("<0x") or piece[5] != ">":
        return None
    digits = "0123456789ABCDEF"
    high, low = digits.find(piece[3]), digits.find(piece[4])
    return None if high < 0 or low < 0 else high * 16 + low


def required(value: T | None, key: str, source: str) -> T:
    """`value`. Raises: FormatError if the array is missing."""
    if value is None:
        raise FormatError.at(source, key, expected="an array", found="no such key")
    return value


def check_element_type(
    meta: MetadataReader, key: str, allowed: tuple[str, ...], source: str
) -> None:
    """Raises: FormatError if the array's elements have another type than those allowed."""
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
