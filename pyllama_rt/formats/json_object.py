"""JSON objects from files that nobody vouches for."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.small_file import read_small_file

MAX_FILE_BYTES = 1 << 22
"""Configurations larger than this are taken for something else."""

MAX_VALUES = 1 << 20
"""Brackets and commas, twice what 65,536 tensors need: a value takes up to thirty times more memory
than its two bytes in the file.
"""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parse_json_object(
    raw: bytes, source: object, field: str = "content", *, max_values: int = MAX_VALUES
) -> dict[str, Any]:
    """The object that `raw` holds.

    Args: source: the file, for messages. field: what in the file is parsed, for messages.
        max_values: brackets and commas, also those in texts.
    Raises: FormatError for anything but one JSON object in UTF-8 without repeated keys.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise FormatError(f"{source}: {field}: key {shown(twice)} appears twice")
        return found

    n_values = sum(raw.count(mark) for mark in (b"[", b"{", b","))
    if n_values > max_values:
        raise FormatError.at(source, field, expected=f"up to {max_values} values", found=n_values)
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=unique)
    except FormatError:
        raise
    except UnicodeDecodeError as error:
        raise FormatError.at(
            source, field, expected="UTF-8 text", found=f"other bytes at {error.start}"
        ) from None
    except RecursionError:
        raise FormatError.at(
            source, field, expected="JSON", found="values nested too deeply"
        ) from None
    except ValueError as error:  # includes numbers of too many digits
        raise FormatError.at(source, field, expected="JSON", found=str(error)) from None
    if not isinstance(value, dict):
        raise FormatError.at(
            source, field, expected="a JSON object", found=f"a {type(value).__name__}"
        )
    return value


def read_json_object(
    path: Path, limit: int = MAX_FILE_BYTES, *, max_values: int = MAX_VALUES
) -> dict[str, Any]:
    """The object in a file of up to `limit` bytes; some editors put a byte order mark before it.

    Raises: ConfigError if it cannot be opened; FormatError.
    """
    raw = read_small_file(path, limit).removeprefix(_BYTE_ORDER_MARK)
    return parse_json_object(raw, path, max_values=max_values)
