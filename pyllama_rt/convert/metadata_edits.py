"""What to change in the metadata of a file, as it is written on the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pyllama_rt.convert.split_plan import is_split_key
from pyllama_rt.errors import ConfigError, did_you_mean, shown
from pyllama_rt.formats.gguf import Metadata, ValueType
from pyllama_rt.formats.gguf_types import ALIGNMENT_KEY, FLOAT_TYPES, INT_TYPES
from pyllama_rt.formats.gguf_values import encode_value

_TYPES: dict[str, ValueType] = {
    kind.name.lower(): kind for kind in ValueType if kind is not ValueType.ARRAY
}
_BOOLS = {"true": True, "false": False}
_INTEGER = re.compile(r"-?[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Edits:
    """Changes that were checked against the file.

    values: new or changed keys, encoded. removed: keys to leave out.
    """

    values: dict[str, bytes]
    removed: frozenset[str]

    @classmethod
    def parse(
        cls, assignments: Sequence[str], removals: Sequence[str], metadata: Metadata
    ) -> Edits:
        """Read the changes.

        Args:
            assignments: KEY=VALUE for a key of the file, whose type stays; KEY:TYPE=VALUE for a
                new one, or for another type.
            removals: keys.
        Raises: ConfigError for what cannot be read or done.
        """
        if not assignments and not removals:
            raise ConfigError("edit needs something to do: --set KEY=VALUE or --remove KEY")
        values: dict[str, bytes] = {}
        for text in assignments:
            key, encoded = _assignment(text, metadata)
            if key in values:
                raise ConfigError(f"--set {shown(key)}: the key is set twice")
            values[key] = encoded
        for key in removals:
            _check_editable(key, "--remove")
            if key in values:
                raise ConfigError(f"--remove {shown(key)}: the key is set and removed")
            if key not in metadata:
                raise ConfigError(
                    f"--remove {shown(key)}: {metadata.path} has no such key"
                    f"{did_you_mean(key, metadata)}"
                )
        return cls(values, frozenset(removals))

    def apply(self, metadata: Metadata) -> dict[str, bytes]:
        """All keys of the new file, encoded: those of the old one in their order, then new ones."""
        kept = {
            key: self.values.get(key) or metadata.encoded(key)
            for key in metadata
            if key not in self.removed and not is_split_key(key)
        }
        return {**kept, **self.values}


def _assignment(text: str, metadata: Metadata) -> tuple[str, bytes]:
    """Key and encoded value of KEY[:TYPE]=VALUE."""
    left, equals, value = text.partition("=")
    key, _, type_name = left.partition(":")
    if not equals or not key:
        raise ConfigError(f"--set {shown(text)}: expected KEY=VALUE or KEY:TYPE=VALUE")
    _check_editable(key, "--set")
    if type_name:
        if type_name not in _TYPES:
            raise ConfigError(
                f"--set {shown(left)}: type {shown(type_name)} is unknown"
                f"{did_you_mean(type_name, _TYPES)}; choose from {', '.join(_TYPES)}"
            )
        kind = _TYPES[type_name]
    elif key not in metadata:
        raise ConfigError(
            f"--set {shown(key)}: {metadata.path} has no such key{did_you_mean(key, metadata)}; "
            f"to add it, say its type, as in --set {key}:string=VALUE"
        )
    else:
        kind = metadata.value_type(key)
    if kind is ValueType.ARRAY:
        raise ConfigError(
            f"--set {shown(key)}: the key holds an array, which can be removed but not set"
        )
    try:
        return key, encode_value(_value(value, kind), kind, None)
    except ConfigError as error:
        raise ConfigError(f"--set {shown(key)}: {error}") from None


def _check_editable(key: str, option: str) -> None:
    if key == ALIGNMENT_KEY:
        raise ConfigError(f"{option} {key}: it cannot change, as the tensors lie by it")
    if is_split_key(key):
        raise ConfigError(f"{option} {key}: use pyllama-rt split and pyllama-rt merge")


def _value(text: str, kind: ValueType) -> bool | int | float | str:
    """A value of a type from its text. Raises: ConfigError."""
    if kind is ValueType.STRING:
        return text
    if kind is ValueType.BOOL and text in _BOOLS:
        return _BOOLS[text]
    if kind in INT_TYPES and _INTEGER.fullmatch(text):
        return int(text)
    if kind in FLOAT_TYPES:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    wanted = "true or false" if kind is ValueType.BOOL else f"a number for {kind.name.lower()}"
    raise ConfigError(f"expected {wanted}, found {shown(text)}")
