"""The safetensors reader: what it gives, and the catalogue of broken headers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import write_safetensors

from pyllama_rt.errors import FormatError
from pyllama_rt.formats.safetensors import SafetensorsFile


def crafted(header: Any, data: bytes = b"", n_header: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if n_header is None else n_header) + text + data


def entry(shape: Any = (2,), start: Any = 0, stop: Any = 8, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def test_tensors_come_back(tmp_path: Path) -> None:
    arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.ones(4, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(2.5, np.float32),
    }
    write_safetensors(tmp_path / "x.safetensors", arrays, "F32")
    file = SafetensorsFile(tmp_path / "x.safetensors")
    assert set(file.tensors) == set(arrays)
    for name, array in arrays.items():
        assert file.tensors[name].shape == array.shape
        assert bytes(file.data(name)) == array.tobytes()
    file.close()


def test_files_of_the_library_are_read(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    arrays: dict[str, Any] = {"a": np.arange(5, dtype=np.float16), "b": np.ones((3, 2), np.int64)}
    numpy.save_file(arrays, tmp_path / "x.safetensors", {"format": "np"})
    file = SafetensorsFile(tmp_path / "x.safetensors")
    assert {name: e.dtype for name, e in file.tensors.items()} == {"a": "F16", "b": "I64"}
    assert bytes(file.data("b")) == arrays["b"].tobytes()
    file.close()


BROKEN = {
    "short": b"\x02\0\0",
    "header past the end": crafted({}, n_header=1000),
    "header of exabytes": crafted({}, n_header=2**64 - 1),
    "no header": struct.pack("<Q", 0) + b"{}",
    "no object": crafted([]),
    "no JSON": crafted(b'{"a": '),
    "no UTF-8": crafted(b'{"\xff": 1}'),
    "deep": crafted(b'{"a":' * 100_000),
    "long integer": crafted(b'{"a": ' + b"9" * 5000 + b"}"),
    "repeated name": crafted(
        b'{"a": %b, "a": %b}' % ((json.dumps(entry()).encode(),) * 2), bytes(8)
    ),
    "overlap": crafted({"a": entry(), "b": entry(start=4, stop=12)}, bytes(12)),
    "same range": crafted({"a": entry(), "b": entry()}, bytes(8)),
    "gap": crafted({"a": entry(), "b": entry(start=12, stop=20)}, bytes(20)),
    "hole in front": crafted({"a": entry(start=8, stop=16)}, bytes(16)),
    "trailing bytes": crafted({"a": entry()}, bytes(9)),
    "cut data": crafted({"a": entry()}, bytes(7)),
    "unknown dtype": crafted({"a": entry(dtype="F31")}, bytes(8)),
    "dtype no text": crafted({"a": entry(dtype=["F32"])}, bytes(8)),
    "product too large": crafted({"a": entry(shape=(3,))}, bytes(8)),
    "product wraps": crafted({"a": entry(shape=(2**62, 8, 2**62, 2))}, bytes(8)),
    "negative size": crafted({"a": entry(shape=(-1, -2))}, bytes(8)),
    "size is a float": crafted({"a": entry(shape=(2.0,))}, bytes(8)),
    "size is a bool": crafted({"a": entry(shape=(True,), stop=4)}, bytes(4)),
    "offsets backwards": crafted({"a": entry(start=8, stop=0)}, bytes(8)),
    "offset beyond 64 bits": crafted({"a": entry(stop=2**64)}, bytes(8)),
    "one offset": crafted({"a": {**entry(), "data_offsets": [0]}}, bytes(8)),
    "no shape": crafted({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "further field": crafted({"a": {**entry(), "strides": [1]}}, bytes(8)),
    "entry is a list": crafted({"a": []}),
    "nine dimensions": crafted({"a": entry(shape=(1,) * 8 + (2,))}, bytes(8)),
    "half a byte": crafted({"a": entry(shape=(1,), dtype="F4", stop=1)}, bytes(1)),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused(case: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(BROKEN[case])
    with pytest.raises(FormatError) as caught:
        SafetensorsFile(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", (1 << 25) + 1))
        file.truncate(1 << 30)  # sparse: no disk is used
    with pytest.raises(FormatError, match="2 to 33554432 bytes, found 33554433"):
        SafetensorsFile(path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"a": np.ones(3, np.float32), "b": np.ones((2, 2), np.float32)})
    whole = path.read_bytes()
    for n in range(1, len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(FormatError):
            SafetensorsFile(path)
