"""Hugging Face's JSON files behind the getters that models read their configs with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.formats.json_object import read_json_object
from pyllama_rt.metadata import REQUIRED


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
        """The object in a file. Raises: FormatError."""
        return cls(read_json_object(path), path)

    @classmethod
    def read_optional(cls, path: Path) -> JsonMetadata:
        """The object in a file, an empty one if there is no such file. Raises: FormatError."""
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

    def get_str(self, key: str, default: Any = REQUIRED) -> Any:
        """A string."""
        return self._typed(key, default, (str,), "a string")

    def get_int(self, key: str, default: Any = REQUIRED) -> Any:
        """A whole number; no bool."""
        return self._typed(key, default, (int,), "a whole number")

    def get_float(self, key: str, default: Any = REQUIRED) -> Any:
        """A number; JSON writers drop the `.0`, so whole ones count."""
        found = self._typed(key, default, (float, int), "a number")
        try:
            return float(found) if type(found) is int else found
        except OverflowError:
            raise self.error(key, "a number that fits a float", found) from None

    def get_bool(self, key: str, default: Any = REQUIRED) -> Any:
        """A truth value."""
        return self._typed(key, default, (bool,), "true or false")

    def get_strings(self, key: str, default: Any = REQUIRED) -> Any:
        """An array of strings."""
        return self._array(key, default, (str,), "an array of strings")

    def get_ints(self, key: str, default: Any = REQUIRED) -> Any:
        """An array of whole numbers."""
        return self._array(key, default, (int,), "an array of whole numbers")

    def get_floats(self, key: str, default: Any = REQUIRED) -> Any:
        """An array of numbers."""
        return [float(x) for x in self._array(key, default, (float, int), "an array of numbers")]

    def _typed(self, key: str, default: Any, types: tuple[type, ...], expected: str) -> Any:
        found = self.get(key)
        if found is None:
            if default is REQUIRED:
                raise self.error(key, expected, None)
            return default
        if type(found) not in types:
            raise self.error(key, expected, found)
        return found

    def _array(self, key: str, default: Any, types: tuple[type, ...], expected: str) -> Any:
        found = self._typed(key, default, (list,), expected)
        if found is not default and any(type(x) not in types for x in found):
            raise self.error(key, expected, found)
        return found

    def error(self, key: str, expected: str, found: object) -> FormatError:
        """What to raise for a value that is not as expected."""
        text = "nothing" if found is None else shown(found)
        return FormatError.at(self.source, key, expected=expected, found=text)
