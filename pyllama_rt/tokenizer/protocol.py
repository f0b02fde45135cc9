"""What the rest of the library may ask of a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


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
    def unk_id(self) -> int | None:
        """The id of what is not known."""

    @property
    def pad_id(self) -> int | None:
        """The id that fills up batches in training."""

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
