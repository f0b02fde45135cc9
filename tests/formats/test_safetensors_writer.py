from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pyllama_rt.errors import ShapeError
from pyllama_rt.formats.safetensors import SafetensorsFile
from pyllama_rt.formats.safetensors_writer import DeclaredTensor, write_safetensors


def test_pieces_of_any_size_come_back(tmp_path: Path) -> None:
    a = np.arange(12, dtype="<f4")
    b = np.arange(5, dtype="<f2")
    rows = [
        (DeclaredTensor("ä", "F32", (3, 4)), [a.view(np.uint8)[:7], a.view(np.uint8)[7:]]),
        (DeclaredTensor("b", "F16", (5,)), [b.view(np.uint8)]),
        (DeclaredTensor("c", "BF16", (0, 4)), []),
    ]
    write_safetensors(tmp_path / "x", rows)
    file = SafetensorsFile(tmp_path / "x")
    assert bytes(file.data("ä")) == a.tobytes()
    assert bytes(file.data("b")) == b.tobytes()
    assert [(t.dtype, t.shape) for t in file.tensors.values()] == [
        ("F32", (3, 4)),
        ("F16", (5,)),
        ("BF16", (0, 4)),
    ]
    file.close()
    raw = (tmp_path / "x").read_bytes()
    n = int.from_bytes(raw[:8], "little")
    assert n % 8 == 0
    assert json.loads(raw[8 : 8 + n])["__metadata__"] == {"format": "pt"}


def test_the_library_reads_it(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    a = np.arange(12, dtype="<f4").reshape(3, 4)
    row = (DeclaredTensor("a", "F32", (3, 4)), [a.reshape(-1).view(np.uint8)])
    write_safetensors(tmp_path / "x", [row])
    assert np.array_equal(library.load_file(tmp_path / "x")["a"], a)


@pytest.mark.parametrize("n_bytes", [7, 9])
def test_another_size_is_an_error(n_bytes: int, tmp_path: Path) -> None:
    row = (DeclaredTensor("a", "F32", (2,)), [np.zeros(n_bytes, np.uint8)])
    with pytest.raises(ShapeError, match=f"'a': expected 8 bytes, found {n_bytes}"):
        write_safetensors(tmp_path / "x", [row])


def test_old_files_are_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_safetensors(tmp_path / "x", [])
