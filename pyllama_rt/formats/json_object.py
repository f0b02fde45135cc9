"""JSON objects from files that nobody vouches for."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pyllama_rt.errors import FormatError, shown

MAX_FILE_BYTES = 1 << 27
"""A JSON file larger than this is taken for something else."""


def parse_json_object(raw: bytes, source: object, field: str = "content") -> dict[str, Any]:
    """The object that `raw` holds.

    Args: source: the file, for messages. field: what in the file is parsed, for messages.
    Raises: FormatError for anything but one JSON object in UTF-8 without repeated keys.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise FormatError(f"{source}: {field}: key {shown(twice)} appears twice")
        return found

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


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in a file. Raises: FormatError, also where the file cannot be read."""
    try:
        size = path.stat().st_size if path.is_file() else -1
        if not 0 <= size <= MAX_FILE_BYTES:
            found = "no regular file" if size < 0 else f"{size} bytes"
            raise FormatError.at(
                path, "content", expected=f"at most {MAX_FILE_BYTES} bytes of JSON", found=found
            )
        raw = path.read_bytes()
    except OSError as error:
        raise FormatError.at(
            path, "content", expected="a readable file", found=error.strerror
        ) from None
    return parse_json_object(raw, path)
