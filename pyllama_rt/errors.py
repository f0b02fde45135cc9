"""Every error that this library raises on purpose, and the words they are built from.

A message is one line: where it went wrong, what was expected, what was found, what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice


class PyllamaRtError(Exception):
    """Base of every error raised on purpose; its text is one line fit for a user."""


class FormatError(PyllamaRtError, ValueError):
    """A file's bytes or metadata break its format."""

    @classmethod
    def at(
        cls, file: object, field: str, *, expected: object, found: object, offset: int | None = None
    ) -> FormatError:
        """An error in the one wording used for all files.

        Args:
            file: Path of the file. field: Name of the field that is wrong.
            expected, found: What the format asks for and what the file holds.
            offset: Byte offset of the field in the file, where known.
        """
        where = "" if offset is None else f" at byte {offset}"
        return cls(f"{file}: {field}{where}: expected {expected}, found {found}")


class UnsupportedError(PyllamaRtError):
    """A well-formed input that this version cannot run (architecture, tensor type, option)."""


class ConfigError(PyllamaRtError, ValueError):
    """An option or argument with an impossible value."""


class ShapeError(PyllamaRtError, ValueError):
    """An array or tensor of the wrong shape or data type."""


class ContextError(PyllamaRtError, ValueError):
    """More tokens than the context holds."""


class ResourceError(PyllamaRtError):
    """Not enough memory, disk space or threads for what was asked."""


class NumericsError(PyllamaRtError, ArithmeticError):
    """A NaN or an infinity where a finite number was needed."""


class StateError(PyllamaRtError, RuntimeError):
    """An object used after it was closed, after a fork, or in the wrong order."""


class CancelledError(PyllamaRtError):
    """A step was cancelled before it finished; nothing of it was committed."""


class MissingExtraError(PyllamaRtError, ImportError):
    """A library that a feature needs is not installed."""


def shown(value: object, limit: int = 60) -> str:
    """`repr(value)`, cut to `limit` characters: hostile values keep a message to one line."""
    text = ascii(value) if isinstance(value, bytes) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


_MAX_CHOICES, _MAX_NAME_CHARS = 512, 64


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the closest of `choices`, or an empty string.

    Names and lists may come from a hostile file, so only short names and the first choices are
    compared, which takes milliseconds.
    """
    from difflib import get_close_matches

    if len(name) > _MAX_NAME_CHARS:
        return ""
    near = [choice for choice in islice(choices, _MAX_CHOICES) if len(choice) <= _MAX_NAME_CHARS]
    close = get_close_matches(name, near, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
