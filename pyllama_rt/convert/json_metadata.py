"""Hugging Face's JSON files behind the getters that models read their configs with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, cast

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.formats.json_object import read_json_object
from pyllama_rt.metadata import REQUIRED, Required

T = TypeVar("T")


class JsonMetadata:
    """A MetadataReader over one JSON object; a dot in a key goes into a nested object.

    `null` counts as absent, as it does in transformers.
    """

    def __init__(self, values: dict[str, Any], source: object) -> None:
        """Args: values: the parsed object. source: its file, for messages."""
        self.values = values
        self.source = source

    @classmethod
    def read(cls, path: Path) -> JsonMetadata:
        """The object in a file. Raises: ConfigError, FormatError."""
        return cls(read_json_object(path), path)

    @classmethod
    def read_optional(cls, path: Path) -> JsonMetadata:
        """The object in a file, an empty one if there is no such file. Raises: as `read`."""
        return cls.read(path) if path.exists() else cls({}, path)

    def get(self, key: str) -> Any:
        """The value as it is, None if absent."""
        value: Any = self.values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.get(key) is not None

    def length(self, key: str) -> int | None:
        """The number of elements of an array, None for any other or no value."""
        found = self.get(key)
        return len(found) if isinstance(found, list) else None

    def element_type(self, key: str) -> None:  # noqa: ARG002
        """Nothing: numbers in JSON have no width."""
        return

    def get_str(self, key: str, default: T | Required = REQUIRED) -> str | T:
        """A string."""
        return cast("str | T", self._typed(key, default, (str,), "a string"))

    def get_int(self, key: str, default: T | Required = REQUIRED) -> int | T:
        """A whole number; no bool."""
        return cast("int | T", self._typed(key, default, (int,), "a whole number"))

    def get_float(self, key: str, default: T | Required = REQUIRED) -> float | T:
        """A number; JSON writers drop the `.0`, so whole ones count."""
        found = self._typed(key, default, (float, int), "a number")
        return cast("T", default) if found is default else self._float(key, found)

    def get_bool(self, key: str, default: T | Required = REQUIRED) -> bool | T:
        """A truth value."""
        return cast("bool | T", self._typed(key, default, (bool,), "true or false"))

    def get_strings(self, key: str, default: T | Required = REQUIRED) -> list[str] | T:
        """An array of strings."""
        return cast("list[str] | T", self._array(key, default, (str,), "an array of strings"))

    def get_ints(self, key: str, default: T | Required = REQUIRED) -> list[int] | T:
        """An array of whole numbers."""
        return cast("list[int] | T", self._array(key, default, (int,), "an array of whole numbers"))

    def get_floats(self, key: str, default: T | Required = REQUIRED) -> list[float] | T:
        """An array of numbers."""
        found = self._array(key, default, (float, int), "an array of numbers")
        return cast("T", default) if found is default else [self._float(key, x) for x in found]

    def _float(self, key: str, number: float) -> float:
        try:
            return float(number)
        except OverflowError:
            raise self.error(key, "a number that fits a float", number) from None

    def _typed(self, key: str, default: object, types: tuple[type, ...], expected: str) -> Any:
        found = self.get(key)
        if found is None:
            if default is REQUIRED:
                raise self.error(key, expected, None)
            return default
        if type(found) not in types:
            raise self.error(key, expected, found)
        return found

    def _array(self, key: str, default: object, types: tuple[type, ...], expected: str) -> Any:
        found = self._typed(key, default, (list,), expected)
        if found is not default and any(type(x) not in types for x in found):
            raise self.error(key, expected, found)
        return found

    def error(self, key: str, expected: str, found: object) -> FormatError:
        """What to raise for a value that is not as expected."""
        text = "nothing" if found is None else shown(found)
        return FormatError.at(self.source, key, expected=expected, found=text)
