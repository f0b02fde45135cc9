"""JSON from files that nobody vouches for."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyllama_rt.errors import FormatError
from pyllama_rt.formats.json_object import MAX_VALUES, parse_json_object, read_json_object


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json_object(path) == {"a": 1}


def test_files_have_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"a": 1}' + b" " * (1 << 22))
    with pytest.raises(FormatError, match="up to 4194304 bytes"):
        read_json_object(path)
    assert read_json_object(path, 1 << 23) == {"a": 1}


def test_countless_values_are_refused_unparsed() -> None:
    for value in (b"{},", b"[],", b"1,", b'"":0,'):
        with pytest.raises(FormatError, match=f"header: expected up to {MAX_VALUES} values, found"):
            parse_json_object(b'{"a": [' + value * MAX_VALUES, "x", "header")
