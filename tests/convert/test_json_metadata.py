"""Getters over a JSON object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.errors import FormatError
from pyllama_rt.metadata import MetadataReader

VALUES: dict[str, Any] = {
    "text": "x", "whole": 3, "part": 0.5, "yes": True, "none": None,
    "texts": ["a"], "wholes": [1, 2], "parts": [1, 0.5], "empty": [],
    "nested": {"deep": {"whole": 7}},
}  # fmt: skip


@pytest.fixture
def reader() -> JsonMetadata:
    return JsonMetadata(VALUES, "config.json")


def test_values_of_each_type(reader: JsonMetadata) -> None:
    checked: MetadataReader = reader
    assert checked.get_str("text") == "x"
    assert checked.get_int("whole") == 3
    assert checked.get_float("part") == 0.5
    assert type(checked.get_float("whole")) is float
    assert checked.get_bool("yes") is True
    assert checked.get_strings("texts") == ["a"]
    assert checked.get_ints("wholes") == [1, 2]
    assert checked.get_floats("parts") == [1.0, 0.5]
    assert checked.get_int("nested.deep.whole") == 7
    assert [checked.length(key) for key in ("parts", "empty", "text", "gone")] == [2, 0, None, None]
    assert checked.element_type("wholes") is None


@pytest.mark.parametrize("key", ["gone", "none", "nested.gone", "text.gone"])
def test_absent_keys(key: str, reader: JsonMetadata) -> None:
    assert not reader.has(key)
    for getter in (
        reader.get_str, reader.get_int, reader.get_float, reader.get_bool,
        reader.get_strings, reader.get_ints, reader.get_floats,
    ):  # fmt: skip
        assert getter(key, None) is None
        with pytest.raises(FormatError, match=f"config.json: {key}: expected .*, found nothing"):
            getter(key)


@pytest.mark.parametrize(
    ("getter", "key"),
    [
        ("get_str", "whole"), ("get_int", "part"), ("get_int", "yes"), ("get_float", "yes"),
        ("get_float", "text"), ("get_bool", "whole"), ("get_strings", "text"),
        ("get_strings", "wholes"), ("get_ints", "parts"), ("get_ints", "whole"),
        ("get_floats", "texts"), ("get_floats", "part"), ("get_str", "nested"),
    ],
)  # fmt: skip
def test_other_types_are_refused(getter: str, key: str, reader: JsonMetadata) -> None:
    with pytest.raises(FormatError, match=f"config.json: {key}: expected"):
        getattr(reader, getter)(key, None)


def test_numbers_beyond_floats_are_refused() -> None:
    reader = JsonMetadata({"x": 10**400, "xs": [1, 10**400]}, "config.json")
    with pytest.raises(FormatError, match="x: expected a number that fits a float"):
        reader.get_float("x")
    with pytest.raises(FormatError, match="xs: expected a number that fits a float"):
        reader.get_floats("xs")


def test_files_may_be_missing(tmp_path: Path) -> None:
    assert JsonMetadata.read_optional(tmp_path / "x.json").values == {}
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert JsonMetadata.read_optional(tmp_path / "x.json").get_int("a") == 1
