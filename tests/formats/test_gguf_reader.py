from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from gguf_craft import BOOL, CODES, FLOAT32, FLOAT64, Craft, Fields, all_types, number, texts, u32

from pyllama_rt.errors import FormatError, ResourceError, StateError
from pyllama_rt.formats.gguf import GgufFile, TensorInfo, ValueType
from pyllama_rt.formats.tensor_types import TENSOR_TYPES

FLOATS = (FLOAT32, FLOAT64)
INTS = tuple(kind for kind in CODES if kind not in (*FLOATS, BOOL))


def opened(folder: Path, craft: Craft) -> GgufFile:
    path = folder / "m.gguf"
    path.write_bytes(craft.build())
    return GgufFile.open(path)


@pytest.fixture
def file(tmp_path: Path) -> GgufFile:
    return opened(tmp_path, all_types())


@pytest.mark.parametrize("version", [2, 3])
def test_both_versions(version: int, tmp_path: Path) -> None:
    craft = all_types()
    craft.version = u32(version)
    with opened(tmp_path, craft) as file:
        assert file.version == version
        assert file.metadata["words"] == ["", "one", "zwei", "三"]


def test_metadata_values_have_the_types_of_the_file(file: GgufFile) -> None:
    assert list(file.metadata) == list(all_types().keys)
    assert len(file.metadata) == len(all_types().keys)
    assert file.metadata["s"] == "x ü 字"
    assert file.metadata["empty"] == []
    for kind in CODES:
        expected = bool if kind == BOOL else float if kind in FLOATS else int
        value, values = file.metadata[f"n{kind}"], file.metadata[f"a{kind}"]
        assert type(value) is expected
        assert value == 1
        assert isinstance(values, list)
        assert {type(element) for element in values} == {expected}
        assert values == [0, 1, 1]
        assert file.value_type(f"n{kind}") is ValueType(kind)
        assert file.element_type(f"n{kind}") is None
        assert file.value_type(f"a{kind}") is ValueType.ARRAY
        assert file.element_type(f"a{kind}") is ValueType(kind)
    assert file.metadata.array("a2").dtype == np.uint16
    assert file.metadata.array("a7").tolist() == [False, True, True]
    assert file.metadata.length("words") == 4
    assert "words" in file.metadata
    assert "nothing" not in file.metadata
    with pytest.raises(KeyError):
        file.metadata["nothing"]


def test_extreme_numbers(tmp_path: Path) -> None:
    extremes = {0: 255, 1: -128, 2: 65535, 3: -32768, 4: 2**32 - 1, 5: -(2**31)}
    extremes |= {10: 2**64 - 1, 11: -(2**63)}
    craft = Craft({f"n{kind}": number(kind, value) for kind, value in extremes.items()})
    with opened(tmp_path, craft) as file:
        assert {int(key[1:]): file.get_int(key) for key in file.metadata} == extremes


def test_getters_accept_their_types(file: GgufFile) -> None:
    assert file.get_str("s") == "x ü 字"
    assert file.get_strings("words")[1] == "one"
    assert file.get_bool("n7") is True
    for kind in INTS:
        assert file.get_int(f"n{kind}") == 1
        assert file.get_ints(f"a{kind}") == [0, 1, 1]
    for kind in FLOATS:
        assert file.get_float(f"n{kind}") == 1.0
        assert file.get_floats(f"a{kind}") == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("getter", "accepted"),
    [
        ("get_str", {"s", "general.architecture"}),
        ("get_int", {f"n{kind}" for kind in INTS}),
        ("get_float", {f"n{kind}" for kind in FLOATS}),
        ("get_bool", {"n7"}),
        ("get_strings", {"words"}),
        ("get_ints", {f"a{kind}" for kind in INTS} | {"empty"}),
        ("get_floats", {f"a{kind}" for kind in FLOATS}),
    ],
)
def test_getters_refuse_every_other_type(getter: str, accepted: set[str], file: GgufFile) -> None:
    get = getattr(file, getter)
    for key in file.metadata:
        if key in accepted:
            get(key)
            continue
        with pytest.raises(FormatError) as caught:
            get(key, None)  # a default is for absent keys, not for wrong ones
        assert f"metadata key '{key}' at byte" in str(caught.value)
        element = file.element_type(key)
        found = f"an array of {element.name}" if element is not None else file.value_type(key).name
        assert str(caught.value).endswith(f"found {found}")


def test_absent_keys(file: GgufFile) -> None:
    assert file.get_int("absent", None) is None
    assert file.get_int("absent", 7) == 7
    assert file.get_strings("absent", []) == []
    with pytest.raises(FormatError, match="metadata key 'absent': expected an integer, found no"):
        file.get_int("absent")


def test_arrays_are_only_given_as_what_they_are(file: GgufFile) -> None:
    with pytest.raises(FormatError, match="expected an array of numbers, found an array of STRING"):
        file.metadata.array("words")
    with pytest.raises(FormatError, match="expected an array of strings, found STRING"):
        file.metadata.strings("s")


def test_scalar_text_that_is_not_utf8(tmp_path: Path) -> None:
    value: Fields = [u32(8), struct.pack("<Q", 2), b"\xc3\x28"]
    with (
        opened(tmp_path, Craft({"k": value})) as file,
        pytest.raises(FormatError, match=r"'k' at byte \d+: expected UTF-8 text"),
    ):
        file.get_str("k")


def test_tensors(file: GgufFile) -> None:
    assert list(file.tensors) == ["first", "second", "third"]
    first, second, third = file.tensors.values()
    assert first == TensorInfo("first", (2, 3), TENSOR_TYPES["f32"], 24, 0, first.offset)
    assert (second.shape, second.type.name, second.n_bytes) == ((2, 32), "q8_0", 68)
    assert (third.shape, third.type.name, third.n_bytes) == ((2, 1, 1, 3), "f16", 12)
    assert [info.offset % 32 for info in file.tensors.values()] == [0, 0, 0]
    assert np.frombuffer(file.tensor_data("first"), "<f4").tolist() == [0, 1, 2, 3, 4, 5]
    assert bytes(file.tensor_data("second")) == bytes(range(68))


def test_data_is_a_read_only_view_of_the_mapping(file: GgufFile) -> None:
    data = file.tensor_data("second")
    assert data.readonly
    with pytest.raises(TypeError):
        data[0] = 1
    array = np.frombuffer(data, np.uint8)
    whole = np.frombuffer(file.mappings[0], np.uint8)
    assert np.shares_memory(array, whole)
    assert file.mappings[0].readonly
    assert file.mappings[0].nbytes == file.path.stat().st_size


def test_unknown_tensor_names_the_closest(file: GgufFile) -> None:
    with pytest.raises(FormatError, match=r"no tensor 'frist' \(did you mean 'first'\?\)"):
        file.tensor_data("frist")


def test_closing(file: GgufFile) -> None:
    held = np.frombuffer(file.tensor_data("second"), np.uint8)
    file.close()
    file.close()
    assert held.tolist() == list(range(68))  # a held view keeps its memory
    for use in (lambda: file.tensor_data("second"), lambda: file.mappings):
        with pytest.raises(StateError, match="was closed"):
            use()
    with pytest.raises(StateError, match="was closed"):
        file.get_str("s")


@pytest.mark.parametrize("alignment", [8, 32, 64, 4096, 1 << 20])
def test_alignment(alignment: int, tmp_path: Path) -> None:
    craft = all_types()
    craft.alignment = alignment
    craft.keys["general.alignment"] = number(4, alignment)
    with opened(tmp_path, craft) as file:
        assert file.alignment == alignment
        assert {info.offset % alignment for info in file.tensors.values()} == {0}
        assert bytes(file.tensor_data("second")) == bytes(range(68))


def test_gaps_and_any_order_of_data(tmp_path: Path) -> None:
    craft = all_types()
    craft.tensors[0].offset, craft.tensors[1].offset, craft.tensors[2].offset = 320, 64, 192
    for tensor in craft.tensors:
        tensor.data += bytes(160 - len(tensor.data))
    with opened(tmp_path, craft) as file:
        first, second, third = file.tensors.values()
        assert second.offset + 128 == third.offset == first.offset - 128


def test_large_string_arrays_decode(tmp_path: Path) -> None:
    words = [f"w{i}" * (i % 5) for i in range(10_000)]
    with opened(tmp_path, Craft({"k": texts(words), "after": number(4, 5)})) as file:
        assert file.get_strings("k") == words
        assert file.get_int("after") == 5


def test_defaults_of_every_getter(file: GgufFile) -> None:
    assert file.get_str("absent", "x") == "x"
    assert file.get_float("absent", 0.5) == 0.5
    assert file.get_bool("absent", False) is False
    assert file.get_ints("absent", None) is None
    assert file.get_floats("absent", None) is None


def test_strings_of_the_whole_file_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty strings in a sparse file cost no disk, but each costs a step of the parser."""
    monkeypatch.setattr("pyllama_rt.formats.gguf_cursor.MAX_ARRAY_LENGTH", 5)
    opened(tmp_path, Craft({"a": texts(["x"] * 3), "b": texts(["x"] * 2)})).close()
    with pytest.raises(FormatError, match=r"length of 'b' at byte .* in the whole file"):
        opened(tmp_path, Craft({"a": texts(["x"] * 3), "b": texts(["x"] * 3)}))


def test_long_string_arrays_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyllama_rt.formats.gguf_parser.MAX_STRING_BYTES", 30)
    opened(tmp_path, Craft({"a": texts(["x" * 7] * 2)})).close()
    with pytest.raises(FormatError, match=r"elements of 'a' at byte .* at most 30 bytes, found 32"):
        opened(tmp_path, Craft({"a": texts(["x" * 8] * 2)}))


def test_refused_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("mmap.mmap", refuse)
    with pytest.raises(ResourceError, match=r"cannot map .* bytes: .*Cannot allocate memory"):
        opened(tmp_path, all_types())


def test_folder_that_cannot_even_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(FormatError, match="found a directory"):
        GgufFile.open(tmp_path)
