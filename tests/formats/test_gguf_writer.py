from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_cases import CASES
from gguf_craft import all_types, tiny_llama

from pyllama_rt.errors import ConfigError, PyllamaRtError, ShapeError, StateError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter, ValueType

V = ValueType


def written(path: Path, **values: object) -> GgufFile:
    with GgufWriter(path) as writer:
        for key, value in values.items():
            writer.add(key, value)
    return GgufFile.open(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.gguf"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, V.BOOL),
        (0, V.UINT32),
        (2**32 - 1, V.UINT32),
        (-1, V.INT32),
        (-(2**31), V.INT32),
        (2**32, V.UINT64),
        (2**64 - 1, V.UINT64),
        (-(2**31) - 1, V.INT64),
        (1.5, V.FLOAT32),
        ("", V.STRING),
        ("ü字", V.STRING),
        (np.int8(-3), V.INT8),
        (np.uint64(3), V.UINT64),
        (np.float64(1e300), V.FLOAT64),
        (np.bool_(False), V.BOOL),
    ],
)
def test_inferred_scalars(value: Any, expected: ValueType, path: Path) -> None:
    with written(path, k=value) as file:
        assert file.value_type("k") is expected
        assert file.metadata["k"] == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([True, False], V.BOOL),
        ([1, 2], V.UINT32),
        ((1, -2), V.INT32),
        ([1, 2**40], V.UINT64),
        ([-1, 2**40], V.INT64),
        ([0.5, 1.5], V.FLOAT32),
        (["a", ""], V.STRING),
        (np.array([1, 2], ">i2"), V.INT16),
        (np.array([1, 2], np.uint8), V.UINT8),
        (np.array([0.1, 2], np.float64), V.FLOAT64),
        (np.array([True, False]), V.BOOL),
        (np.array([], np.int32), V.INT32),
        (np.arange(10, dtype=np.int64)[::3], V.INT64),
    ],
)
def test_inferred_arrays(value: Any, expected: ValueType, path: Path) -> None:
    with written(path, k=value) as file:
        assert file.value_type("k") is V.ARRAY
        assert file.element_type("k") is expected
        assert file.metadata["k"] == list(value)


def test_types_that_are_given(path: Path) -> None:
    with GgufWriter(path) as writer:
        writer.add("a", 5, V.UINT16)
        writer.add("b", 5, V.FLOAT64)
        writer.add("c", [], element_type=V.STRING)
        writer.add("d", [1, 2], V.ARRAY, V.INT8)
        writer.add("e", b"\xff", V.STRING)
        writer.add("f", [b"\xff", "x"])
    with GgufFile.open(path) as file:
        assert [file.value_type(key) for key in "abcdef"] == [
            *(V.UINT16, V.FLOAT64, V.ARRAY, V.ARRAY, V.STRING, V.ARRAY)
        ]
        assert [file.element_type(key) for key in "cdf"] == [V.STRING, V.INT8, V.STRING]
        assert file.metadata["b"] == 5.0
        assert file.metadata.strings("f") == [b"\xff", b"x"]


@pytest.mark.parametrize(
    ("value", "types", "words"),
    [
        (256, (V.UINT8,), "UINT8"),
        (-1, (V.UINT32,), "UINT32"),
        (1.5, (V.INT32,), "INT32"),
        (True, (V.INT32,), "INT32"),
        (1, (V.BOOL,), "BOOL"),
        ("x", (V.INT32,), "INT32"),
        (1, (V.STRING,), "STRING"),
        ([1], (V.INT32,), "INT32"),
        (1, (V.ARRAY,), "ARRAY"),
        ([[1]], (), "found list"),
        ([[1]], (V.ARRAY, V.ARRAY), "arrays of arrays"),
        ([], (), "give element_type"),
        ([1, "x"], (), "int, str"),
        ([True, 1], (), "bool, int"),
        ([True, 1], (V.ARRAY, V.INT32), "INT32"),
        ([-1, 2**63], (), "no integer type"),
        (None, (), "found NoneType"),
        ({"a": 1}, (), "found dict"),
        (np.zeros((2, 2)), (), "one dimension"),
        (np.zeros(2, np.complex64), (), "complex64 has no GGUF type"),
        (1e39, (V.FLOAT32,), "FLOAT32"),
        ("\ud800", (), "UTF-8"),
    ],
)
def test_values_that_do_not_fit(value: Any, types: Any, words: str, path: Path) -> None:
    writer = GgufWriter(path)
    with pytest.raises(ConfigError) as caught:
        writer.add("key", value, *types)
    assert words in str(caught.value)
    assert "metadata key 'key'" in str(caught.value)


@pytest.mark.parametrize("key", ["", "a\0b", "a\nb", "k" * 65536, "\ud800"])
def test_bad_keys(key: str, path: Path) -> None:
    with pytest.raises(ConfigError, match="metadata key"):
        GgufWriter(path).add(key, 1)


@pytest.mark.parametrize("name", ["", "x" * 64, "字" * 22, "a\0"])
def test_bad_names(name: str, path: Path) -> None:
    with pytest.raises(ConfigError, match="tensor name"):
        GgufWriter(path).declare(name, (1,), "f32")


def test_repeated_names(path: Path) -> None:
    writer = GgufWriter(path)
    writer.add("k", 1)
    writer.declare("t", (1,), "f32")
    with pytest.raises(ConfigError, match="'k' is added twice"):
        writer.add("k", 1)
    with pytest.raises(ConfigError, match="'t' is declared twice"):
        writer.declare("t", (1,), "f32")


@pytest.mark.parametrize("shape", [(), (0,), (2, -1), (1, 1, 1, 1, 32), (1 << 40, 1 << 40)])
def test_bad_shapes(shape: tuple[int, ...], path: Path) -> None:
    with pytest.raises(ShapeError, match="dimensions"):
        GgufWriter(path).declare("t", shape, "f32")


def test_rows_must_hold_whole_blocks(path: Path) -> None:
    with pytest.raises(ShapeError, match="rows of 48 are no multiple of 32, the block size"):
        GgufWriter(path).declare("t", (32, 48), "q4_0")
    with pytest.raises(ConfigError, match="did you mean 'q4_0'"):
        GgufWriter(path).declare("t", (32, 32), "q40")


def three_tensors(path: Path, alignment: int = 32) -> GgufWriter:
    writer = GgufWriter(path, alignment=alignment)
    writer.declare("a", (2, 3), "f32")
    writer.declare("b", (4, 32), "q8_0")
    writer.declare("c", (5,), "f16")
    return writer


@pytest.mark.parametrize("alignment", [8, 32, 4096])
def test_tensors(alignment: int, path: Path) -> None:
    a = np.arange(6, dtype=np.float32).reshape(3, 2).T  # not contiguous
    blocks = bytes(range(136))
    c = np.arange(5, dtype=np.float16)

    def pieces() -> Iterator[bytes | bytearray | memoryview]:
        yield blocks[:1]
        yield b""
        yield memoryview(blocks)[1:100]
        yield bytearray(blocks[100:])

    with three_tensors(path, alignment) as writer:
        writer.write_tensor("a", a)
        writer.write_tensor("b", pieces())
        writer.write_tensor("c", [c[:2], c[2:]])
    with GgufFile.open(path) as file:
        assert file.version == 3
        assert file.alignment == alignment
        assert [info.shape for info in file.tensors.values()] == [(2, 3), (4, 32), (5,)]
        assert np.array_equal(np.frombuffer(file.tensor_data("a"), "<f4").reshape(2, 3), a)
        assert bytes(file.tensor_data("b")) == blocks
        assert bytes(file.tensor_data("c")) == c.tobytes()
    assert path.stat().st_size % alignment == 0


@pytest.mark.parametrize("alignment", [32, 256])
def test_the_size_is_known_before_anything_is_written(alignment: int, path: Path) -> None:
    writer = three_tensors(path, alignment)
    writer.add("some.key", "and its text")
    n_bytes = writer.n_bytes
    with writer:
        for name, (_, _, size) in writer._declared.items():
            writer.write_tensor(name, bytes(size))
    assert path.stat().st_size == n_bytes


def test_wrong_sizes(path: Path) -> None:
    for data, words in (
        (bytes(23), "expected 24 bytes, found 23"),
        (bytes(25), "expected 24 bytes, found 25 or more"),
        ((bytes(10) for _ in range(10**9)), "expected 24 bytes, found 30 or more"),
        ([], "expected 24 bytes, found 0"),
    ):
        with pytest.raises(ShapeError, match=words), three_tensors(path) as writer:
            writer.write_tensor("a", data)
        assert not list(path.parent.iterdir())


def test_wrong_order(path: Path) -> None:
    with (
        pytest.raises(StateError, match="'b' was written where 'a' was due"),
        three_tensors(path) as writer,
    ):
        writer.write_tensor("b", bytes(136))
    with (
        pytest.raises(StateError, match="tensor 'b' was never written"),
        three_tensors(path) as writer,
    ):
        writer.write_tensor("a", bytes(24))
    with (
        pytest.raises(StateError, match="'x' was written where nothing was due"),
        GgufWriter(path) as writer,
    ):
        writer.write_tensor("x", b"")
    assert not list(path.parent.iterdir())


def test_too_late(path: Path) -> None:
    with GgufWriter(path) as writer:
        writer.declare("a", (1,), "f32")
        writer.write_tensor("a", bytes(4))
        with pytest.raises(StateError, match="too late to add metadata"):
            writer.add("k", 1)
        with pytest.raises(StateError, match="too late to declare tensors"):
            writer.declare("b", (1,), "f32")


def test_outside_its_with_statement(path: Path) -> None:
    with pytest.raises(StateError, match="outside its with statement"):
        three_tensors(path).write_tensor("a", bytes(24))
    with GgufWriter(path) as writer:
        pass
    with pytest.raises(PyllamaRtError):
        writer.write_tensor("a", bytes(24))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file(error: type[BaseException], path: Path) -> None:
    path.write_bytes(b"old")

    def fail() -> None:
        with three_tensors(path) as writer:
            writer.write_tensor("a", bytes(24))
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("alignment", [0, -8, 3, 4, 48, 1 << 21])
def test_bad_alignment(alignment: int, path: Path) -> None:
    with pytest.raises(ConfigError, match="alignment: expected a power of two"):
        GgufWriter(path, alignment=alignment)


def test_a_second_alignment_must_agree(path: Path) -> None:
    GgufWriter(path, alignment=64).add("general.alignment", 64)
    GgufWriter(path).add("general.alignment", 32)
    with pytest.raises(ConfigError, match="differs from the writer's alignment, 32"):
        GgufWriter(path).add("general.alignment", 64)


def test_a_bad_destination_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found a folder"), GgufWriter(tmp_path):
        pass
    with pytest.raises(ConfigError, match="does not exist"), GgufWriter(tmp_path / "x" / "y.gguf"):
        pass


@pytest.mark.parametrize("data", [all_types().build(), tiny_llama().build()])
@pytest.mark.parametrize("verbatim", [True, False])
def test_a_rewrite_keeps_every_byte(data: bytes, verbatim: bool, path: Path) -> None:
    """Metadata through `copy` or through `add` with the file's own types, data as it is."""
    source = path.with_name("source.gguf")
    source.write_bytes(data)
    with GgufFile.open(source) as file, GgufWriter(path, alignment=file.alignment) as writer:
        for key in file.metadata:
            if verbatim:
                writer.copy(file.metadata, key)
            else:
                value = file.metadata[key]
                writer.add(key, value, file.value_type(key), file.element_type(key))
        for name, info in file.tensors.items():
            writer.declare(name, info.shape, info.type)
        for name in file.tensors:
            writer.write_tensor(name, file.tensor_data(name))
    assert path.read_bytes() == data + bytes(-len(data) % 32)


def test_copy_keeps_text_that_is_not_utf8(path: Path) -> None:
    source = path.with_name("source.gguf")
    source.write_bytes(CASES["42-piece-not-utf8"]())
    key = "tokenizer.ggml.tokens"
    with GgufFile.open(source) as file, GgufWriter(path) as writer:
        writer.copy(file.metadata, key)
    with GgufFile.open(path) as copied:
        assert copied.metadata.strings(key)[-1] == b"\xff\xfe"
