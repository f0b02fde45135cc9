"""Metadata of a file without a file, for tests of what reads them."""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeVar, cast

from pyllama_rt.errors import FormatError
from pyllama_rt.metadata import REQUIRED, Required

T = TypeVar("T")


class Element(Enum):
    """The element types of GGUF that tests use, by GGUF's names."""

    STRING = 8
    FLOAT32 = 6
    FLOAT64 = 12
    INT32 = 5
    INT8 = 1


class FakeMetadata:
    """A MetadataReader over a dictionary. elements: types of its arrays, where they matter."""

    def __init__(
        self, values: dict[str, object], elements: dict[str, Element] | None = None
    ) -> None:
        self.values = values
        self.elements = elements or {}

    def has(self, key: str) -> bool:
        return key in self.values

    def length(self, key: str) -> int | None:
        found = self.values.get(key)
        return len(found) if isinstance(found, list) else None

    def element_type(self, key: str) -> Enum | None:
        return self.elements.get(key)

    def get_str(self, key: str, default: T | Required = REQUIRED) -> str | T:
        return cast("str | T", self._get(key, default, str, "a string"))

    def get_int(self, key: str, default: T | Required = REQUIRED) -> int | T:
        return cast("int | T", self._get(key, default, int, "an integer"))

    def get_float(self, key: str, default: T | Required = REQUIRED) -> float | T:
        return cast("float | T", self._get(key, default, float, "a floating-point number"))

    def get_bool(self, key: str, default: T | Required = REQUIRED) -> bool | T:
        return cast("bool | T", self._get(key, default, bool, "a bool"))

    def get_strings(self, key: str, default: T | Required = REQUIRED) -> list[str] | T:
        return cast("list[str] | T", self._get(key, default, list, "an array"))

    def get_ints(self, key: str, default: T | Required = REQUIRED) -> list[int] | T:
        return cast("list[int] | T", self._get(key, default, list, "an array"))

    def get_floats(self, key: str, default: T | Required = REQUIRED) -> list[float] | T:
        return cast("list[float] | T", self._get(key, default, list, "an array"))

    def _get(self, key: str, default: object, kind: type, expected: str) -> Any:
        found = self.values.get(key, default)
        if found is REQUIRED:
            raise FormatError(f"{key}: expected {expected}, found no key")
        if found is not default and type(found) is not kind:
            raise FormatError(f"{key}: expected {expected}, found {type(found).__name__}")
        return found
