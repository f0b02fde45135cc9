"""What the rest of the library may ask of a tokenizer, and a tokenizer of a model file."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol


class ElementTypes(Protocol):
    """The part of a metadata mapping that knows how the file stores an array."""

    def element_type(self, key: str, /) -> Enum | None:
        """Type of the elements of the array `key`, named as GGUF names it ("INT32"); else None."""


class MetadataSource(Protocol):
    """Typed getters over a model file's metadata; `formats.gguf.GgufFile` has them.

    Each returns None for a missing key and raises FormatError for a value of another type.
    """

    @property
    def metadata(self) -> ElementTypes:
        """The mapping behind the getters."""

    def get_str(self, key: str, default: None, /) -> str | None:
        """A string."""

    def get_int(self, key: str, default: None, /) -> int | None:
        """An integer of any width."""

    def get_bool(self, key: str, default: None, /) -> bool | None:
        """A bool."""

    def get_strings(self, key: str, default: None, /) -> list[str] | None:
        """An array of strings."""

    def get_ints(self, key: str, default: None, /) -> list[int] | None:
        """An array of integers."""

    def get_floats(self, key: str, default: None, /) -> list[float] | None:
        """An array of floats."""


class Tokenizer(Protocol):
    """Text to ids and back."""

    @property
    def n_vocab(self) -> int:
        """Number of ids; ids are 0 to n_vocab - 1."""

    @property
    def bos_id(self) -> int | None:
        """The id that begins a text."""

    @property
    def eos_id(self) -> int | None:
        """The id that ends a text."""

    @property
    def eog_ids(self) -> frozenset[int]:
        """Every id that ends a generation."""

    @property
    def add_bos(self) -> bool:
        """Whether `encode` puts BOS first unless told otherwise."""

    @property
    def special_pieces(self) -> Sequence[str]:
        """The texts that become one id only where special parsing is on."""

    def encode(
        self, text: str | bytes, *, add_bos: bool | None = None, special: bool = False
    ) -> list[int]:
        """The ids of `text`.

        Args:
            add_bos: True or False; None adds BOS and EOS as the model file says.
            special: Whether pieces such as `<s>` in the text become their ids.
        """

    def encode_spans(
        self, spans: Sequence[tuple[str, bool]], *, add_bos: bool | None = None
    ) -> list[int]:
        """The ids of the joined spans; special pieces only inside spans marked True."""

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one id; empty for a control piece unless `special`."""

    def decode(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        """The bytes of a whole text, without the space that `encode` put before it."""
