"""GGUF metadata as a mapping that decodes on access, and getters that insist on a type."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from struct import pack
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.formats.gguf_cursor import U64
from pyllama_rt.formats.gguf_parser import Entry
from pyllama_rt.formats.gguf_types import (
    FLOAT_TYPES,
    FORMAT_CODES,
    INT_TYPES,
    SCALARS,
    Scalar,
    Value,
    ValueType,
)
from pyllama_rt.metadata import REQUIRED, Required

T = TypeVar("T")


class ByteSource(Protocol):
    """What values are decoded from: a mapped file, or a header in memory."""

    @property
    def path(self) -> Path:
        """The file, for messages."""

    @property
    def view(self) -> memoryview:
        """All bytes."""


class Metadata(Mapping[str, Value]):
    """All keys of a file.

    Values are decoded anew on every access and not kept: hold on to a large array after reading it.
    """

    def __init__(self, file: ByteSource, entries: dict[str, Entry]) -> None:
        self._file = file
        self._entries = entries

    @property
    def path(self) -> Path:
        """The file, for messages."""
        return self._file.path

    def __getitem__(self, key: str) -> Value:
        """The decoded value.

        Raises: KeyError if absent; FormatError if it is text that is not UTF-8 or a bool that is
            neither 0 nor 1.
        """
        entry = self._entries[key]
        if entry.type is ValueType.ARRAY:
            if entry.element is ValueType.STRING:
                return self._strings(key, entry)
            elements: list[Scalar] = self.array(key).tolist()
            return elements
        if entry.type is ValueType.STRING:
            return self._decode(self.raw(key)[8:], shown(key), entry)
        number: int | float = SCALARS[entry.type].unpack_from(self._file.view, entry.start)[0]
        return bool(number) if entry.type is ValueType.BOOL else number

    def __iter__(self) -> Iterator[str]:
        """The keys in the order of the file."""
        return iter(self._entries)

    def __len__(self) -> int:
        """The number of keys."""
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        """Whether the file has `key`; nothing is decoded."""
        return key in self._entries

    def value_type(self, key: str) -> ValueType:
        """The type of the value of `key`. Raises: KeyError."""
        return self._entries[key].type

    def element_type(self, key: str) -> ValueType | None:
        """The type of the elements of an array, else None. Raises: KeyError."""
        return self._entries[key].element

    def length(self, key: str) -> int:
        """The number of elements of an array, else 0. Raises: KeyError."""
        return self._entries[key].count

    def raw(self, key: str) -> bytes:
        """The value as it lies in the file, after its type (and, for an array, its length)."""
        entry = self._entries[key]
        return bytes(self._file.view[entry.start : entry.end])

    def encoded(self, key: str) -> bytes:
        """The value as it lies in the file with its type (and, for an array, its length) in front.

        Raises: KeyError.
        """
        entry = self._entries[key]
        head = pack("<I", entry.type)
        if entry.element is not None:
            head += pack("<IQ", entry.element, entry.count)
        return head + self.raw(key)

    def array(self, key: str) -> NDArray[Any]:
        """A copy of an array of numbers or bools as NumPy, read-only.

        Raises: KeyError; FormatError for other values and for bools that are neither 0 nor 1.
        """
        entry = self._entries[key]
        if entry.element is None or entry.element is ValueType.STRING:
            raise self.wrong_type(key, "an array of numbers")
        raw: NDArray[Any] = np.frombuffer(self.raw(key), "<" + FORMAT_CODES[entry.element])
        if entry.element is not ValueType.BOOL:
            return raw
        wrong = np.flatnonzero(raw > 1)
        if wrong.size:
            index = int(wrong[0])
            raise FormatError.at(
                self._file.path,
                f"element {index} of {shown(key)}",
                expected="a bool, 0 or 1",
                found=int(raw[index]),
                offset=entry.start + index,
            )
        return raw.astype(np.bool_)

    def strings(self, key: str) -> list[bytes]:
        """An array of strings, undecoded. Raises: KeyError; FormatError for other values."""
        entry = self._entries[key]
        if entry.element is not ValueType.STRING:
            raise self.wrong_type(key, "an array of strings")
        raw, unpack, position = self.raw(key), U64.unpack_from, 0
        strings = []
        for _ in range(entry.count):
            start = position + 8
            position = start + unpack(raw, position)[0]
            strings.append(raw[start:position])
        return strings

    def wrong_type(self, key: str, expected: str) -> FormatError:
        """The error for `key` whose type is not what was asked for."""
        entry = self._entries.get(key)
        if entry is None:
            return FormatError.at(
                self._file.path, f"metadata key {shown(key)}", expected=expected, found="no key"
            )
        found = entry.type.name
        if entry.element is not None:
            found = f"an array of {entry.element.name}"
        return FormatError.at(
            self._file.path,
            f"metadata key {shown(key)}",
            expected=expected,
            found=found,
            offset=entry.start,
        )

    def _strings(self, key: str, entry: Entry) -> list[str]:
        raw = self.strings(key)
        try:
            return [text.decode() for text in raw]
        except UnicodeDecodeError:
            return [
                self._decode(text, f"element {index} of {shown(key)}", entry)
                for index, text in enumerate(raw)
            ]

    def _decode(self, raw: bytes, field: str, entry: Entry) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise FormatError.at(
                self._file.path,
                field,
                expected="UTF-8 text",
                found=shown(raw),
                offset=entry.start,
            ) from None


class TypedMetadata:
    """A MetadataReader: getters that check the type.

    Each returns `default` where the file has no such key. A key that is absent without a default,
    or has another type, is a FormatError that names it.
    """

    metadata: Metadata

    def has(self, key: str) -> bool:
        """Whether the file holds the key."""
        return key in self.metadata

    def element_type(self, key: str) -> ValueType | None:
        """The type of the elements of an array, None for any other or no value."""
        return self.metadata.element_type(key) if key in self.metadata else None

    def length(self, key: str) -> int | None:
        """The number of elements of an array, None for any other or no value."""
        return None if self.element_type(key) is None else self.metadata.length(key)

    def get_str(self, key: str, default: T | Required = REQUIRED) -> str | T:
        """A string."""
        if self._is_absent(key, default, {ValueType.STRING}, "a string"):
            return cast("T", default)
        return cast("str", self.metadata[key])

    def get_int(self, key: str, default: T | Required = REQUIRED) -> int | T:
        """An integer of any width; neither a bool nor a float."""
        if self._is_absent(key, default, INT_TYPES, "an integer"):
            return cast("T", default)
        return cast("int", self.metadata[key])

    def get_float(self, key: str, default: T | Required = REQUIRED) -> float | T:
        """A floating-point number of either width; not an integer."""
        if self._is_absent(key, default, FLOAT_TYPES, "a floating-point number"):
            return cast("T", default)
        return cast("float", self.metadata[key])

    def get_bool(self, key: str, default: T | Required = REQUIRED) -> bool | T:
        """A bool."""
        if self._is_absent(key, default, {ValueType.BOOL}, "a bool"):
            return cast("T", default)
        return cast("bool", self.metadata[key])

    def get_strings(self, key: str, default: T | Required = REQUIRED) -> list[str] | T:
        """An array of strings."""
        if self._is_absent(key, default, {ValueType.STRING}, "an array of strings", array=True):
            return cast("T", default)
        return cast("list[str]", self.metadata[key])

    def get_ints(self, key: str, default: T | Required = REQUIRED) -> list[int] | T:
        """An array of integers of any width."""
        if self._is_absent(key, default, INT_TYPES, "an array of integers", array=True):
            return cast("T", default)
        return cast("list[int]", self.metadata[key])

    def get_floats(self, key: str, default: T | Required = REQUIRED) -> list[float] | T:
        """An array of floating-point numbers of either width."""
        if self._is_absent(key, default, FLOAT_TYPES, "an array of floating-point numbers", True):
            return cast("T", default)
        return cast("list[float]", self.metadata[key])

    def _is_absent(
        self,
        key: str,
        default: object,
        types: Collection[ValueType],
        expected: str,
        array: bool = False,
    ) -> bool:
        """Whether the default holds; raises where there is none or the type is wrong."""
        metadata = self.metadata
        if key not in metadata:
            if default is REQUIRED:
                raise metadata.wrong_type(key, expected)
            return True
        found = metadata.element_type(key) if array else metadata.value_type(key)
        if found not in types:
            raise metadata.wrong_type(key, expected)
        return False
