"""What a model, a tokenizer or a template needs of a file's metadata, whatever the format."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol, TypeVar

T = TypeVar("T")


class Required(Enum):
    """Type of REQUIRED."""

    REQUIRED = "required"


REQUIRED: Final = Required.REQUIRED
"""Default of a getter that means: there is none, a missing key is an error."""


class MetadataReader(Protocol):
    """Typed getters.

    A missing key gives `default`, or FormatError if that is REQUIRED; a value of another type than
    asked for is a FormatError too.
    """

    def has(self, key: str) -> bool:
        """Whether the file holds the key."""

    def length(self, key: str) -> int | None:
        """The number of elements of an array, nothing decoded; None for any other or no value."""

    def element_type(self, key: str) -> Enum | None:
        """How the file stores the elements of an array, named as GGUF names it ("INT32").

        None for any other or no value, and in formats whose numbers have no width.
        """

    def get_str(self, key: str, default: T | Required = REQUIRED) -> str | T:
        """A string."""

    def get_int(self, key: str, default: T | Required = REQUIRED) -> int | T:
        """A whole number of any width; no bool."""

    def get_float(self, key: str, default: T | Required = REQUIRED) -> float | T:
        """A floating-point number."""

    def get_bool(self, key: str, default: T | Required = REQUIRED) -> bool | T:
        """A truth value."""

    def get_strings(self, key: str, default: T | Required = REQUIRED) -> Sequence[str] | T:
        """An array of strings."""

    def get_ints(self, key: str, default: T | Required = REQUIRED) -> Sequence[int] | T:
        """An array of whole numbers."""

    def get_floats(self, key: str, default: T | Required = REQUIRED) -> Sequence[float] | T:
        """An array of floating-point numbers."""
