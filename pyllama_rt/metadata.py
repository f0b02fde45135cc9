"""What a model, a tokenizer or a template needs of a file's metadata, whatever the format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Required:
    """Type of REQUIRED, the default that means "there is none: a missing key is an error"."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = Required()


class MetadataReader(Protocol):
    """Typed getters.

    A missing key gives `default`, or FormatError if that is REQUIRED; so does a value of another
    type than asked for.
    """

    def has(self, key: str) -> bool:
        """Whether the file holds the key."""

    def get_str(self, key: str, default: Any = REQUIRED) -> str:
        """A string."""

    def get_int(self, key: str, default: Any = REQUIRED) -> int:
        """A whole number of any width; no bool."""

    def get_float(self, key: str, default: Any = REQUIRED) -> float:
        """A floating-point number."""

    def get_bool(self, key: str, default: Any = REQUIRED) -> bool:
        """A truth value."""

    def get_strings(self, key: str, default: Any = REQUIRED) -> Sequence[str]:
        """An array of strings."""

    def get_ints(self, key: str, default: Any = REQUIRED) -> Sequence[int]:
        """An array of whole numbers."""

    def get_floats(self, key: str, default: Any = REQUIRED) -> Sequence[float]:
        """An array of floating-point numbers."""
