"""Files mean the same to the public `gguf` package, in both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_craft import all_types, tiny_llama
from numpy.typing import NDArray

from pyllama_rt.formats.gguf import GgufFile, GgufWriter, ValueType
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, WEIGHT_TYPES

gguf = pytest.importorskip("gguf")

SCALARS = [value_type for value_type in ValueType if value_type not in (8, 9)]


def fields_of(path: Path) -> dict[str, tuple[list[int], Any]]:
    """Types and value of every key, as the package reads them."""
    reader = gguf.GGUFReader(path)
    return {
        key: ([int(kind) for kind in field.types], field.contents())
        for key, field in reader.fields.items()
        if not key.startswith("GGUF.")
    }


def write_ours(path: Path) -> None:
    random = np.random.default_rng(3)
    with GgufWriter(path, alignment=64) as writer:
        writer.add("general.architecture", "llama")
        for kind in SCALARS:
            value = True if kind is ValueType.BOOL else 3
            writer.add(f"n.{kind.name}", value, kind)
            writer.add(f"a.{kind.name}", [value] * 3, element_type=kind)
        writer.add("words", ["", "a", "字"])
        blobs = {}
        for name in WEIGHT_TYPES:
            shape = (3, 2, 256)
            writer.declare(name, shape, name)
            blobs[name] = random.bytes(TENSOR_TYPES[name].row_bytes(256) * 6)
        for name, blob in blobs.items():
            writer.write_tensor(name, blob)


def test_the_package_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "ours.gguf"
    write_ours(path)
    theirs = fields_of(path)
    with GgufFile.open(path) as file:
        assert list(theirs) == list(file.metadata)
        for key, (kinds, value) in theirs.items():
            assert kinds[0] == file.value_type(key)
            assert kinds[1:2] == (
                [] if file.element_type(key) is None else [file.element_type(key)]
            )
            assert value == file.metadata[key]
        tensors = gguf.GGUFReader(path).tensors
        assert [tensor.name for tensor in tensors] == list(file.tensors)
        for tensor in tensors:
            info = file.tensors[tensor.name]
            assert tuple(int(dim) for dim in reversed(tensor.shape)) == info.shape
            assert int(tensor.tensor_type) == info.type.gguf_id
            assert int(tensor.n_bytes) == info.n_bytes
            assert int(tensor.data_offset) == info.offset
            assert tensor.data.tobytes() == bytes(file.tensor_data(tensor.name))


def test_we_read_what_the_package_writes(tmp_path: Path) -> None:
    path = tmp_path / "theirs.gguf"
    random = np.random.default_rng(4)
    arrays: dict[str, NDArray[Any]] = {
        "f32": random.standard_normal((3, 4, 32)).astype(np.float32),
        "f16": random.standard_normal((5, 32)).astype(np.float16),
        "i32": np.arange(7, dtype=np.int32),
    }
    blocks = random.integers(0, 256, (4, 2 * 34), dtype=np.uint8)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(128)
    writer.add_uint8("u8", 200)
    writer.add_int64("i64", -5)
    writer.add_float64("f64", 0.1)
    writer.add_bool("flag", True)
    writer.add_string("text", "häuser 字")
    writer.add_array("ints", [1, -2, 3])
    writer.add_array("words", ["x", "", "字"])
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    writer.add_tensor("q8_0", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    theirs = fields_of(path)
    with GgufFile.open(path) as file:
        assert {key: value for key, (_, value) in theirs.items()} == dict(file.metadata)
        assert {key: kinds[0] for key, (kinds, _) in theirs.items()} == {
            key: file.value_type(key) for key in file.metadata
        }
        assert file.alignment == 128
        for name, array in arrays.items():
            info = file.tensors[name]
            assert (info.type.name, info.shape) == (name, array.shape)
            assert bytes(file.tensor_data(name)) == array.tobytes()
        assert file.tensors["q8_0"].shape == (4, 64)
        assert bytes(file.tensor_data("q8_0")) == blocks.tobytes()


@pytest.mark.parametrize("data", [tiny_llama().build(), all_types().build()])
def test_the_crafted_files_are_valid_to_the_package(data: bytes, tmp_path: Path) -> None:
    """Otherwise the catalogue of damage would start from damage."""
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with GgufFile.open(path) as file:
        assert {key: value for key, (_, value) in fields_of(path).items()} == dict(file.metadata)
        assert [tensor.name for tensor in gguf.GGUFReader(path).tensors] == list(file.tensors)


def test_both_know_the_same_block_sizes() -> None:
    for tensor_type in TENSOR_TYPES.values():
        kind = gguf.GGMLQuantizationType(tensor_type.gguf_id)
        assert kind.name.lower() == tensor_type.name
        assert gguf.GGML_QUANT_SIZES[kind] == (tensor_type.block_size, tensor_type.block_bytes)
