"""Our reader of torch.save's files against PyTorch itself, where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_files import write_torch

from pyllama_rt.errors import FormatError, PyllamaRtError, UnsupportedError
from pyllama_rt.formats.torch_file import TorchFile


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def test_files_of_torch_are_read(torch: Any, tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float32)
    state = {
        "f32": base.reshape(4, 6),
        "view": base[6:12],
        "bf16": torch.randn(3, 5).to(torch.bfloat16),
        "f16": torch.randn(7).half(),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
        "i64": torch.arange(3),
        "bool": torch.ones(3, dtype=torch.bool),
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 4),
    }
    torch.save(state, tmp_path / "x.pth")
    file = TorchFile(tmp_path / "x.pth")
    assert list(file.tensors) == list(state)
    for name, value in state.items():
        assert file.tensors[name].shape == tuple(value.shape)
        raw = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        assert bytes(file.data(name)) == raw, name
    file.close()


def test_state_dictionaries_of_modules_are_read(torch: Any, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    for protocol in (2, 4):
        torch.save(module.state_dict(), tmp_path / "x.pth", pickle_protocol=protocol)
        file = TorchFile(tmp_path / "x.pth")
        assert list(file.tensors) == ["0.weight", "0.bias", "1.weight", "1.bias"]
        file.close()


def test_other_files_of_torch_are_refused(torch: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    cases = (
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.eye(3).to(torch.float8_e4m3fn), "float8"),
        (torch.randn(3, 4).t(), "row by row"),
        (torch.randn(3, dtype=torch.complex64), "ComplexFloatStorage"),
        (torch.nn.Linear(2, 2), "Linear"),
    )
    for value, message in cases:
        torch.save({"w": value}, path)
        with pytest.raises(PyllamaRtError, match=message):
            TorchFile(path)
    torch.save({"w": torch.eye(3)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(UnsupportedError, match=r"before version 1\.6"):
        TorchFile(path)


def test_files_beyond_4_gib_are_read(torch: Any, tmp_path: Path) -> None:
    """Sizes and places that only 64 bits hold; the file is a hole, and so is the memory."""
    skip_data = getattr(torch.serialization, "skip_data", None)
    if skip_data is None:
        pytest.skip("needs PyTorch 2.6 or newer, which writes files without their numbers")
    n_bytes = 9 << 29
    state = {"large": torch.empty(n_bytes, dtype=torch.uint8), "behind": torch.empty(3)}
    with skip_data():
        torch.save(state, tmp_path / "x.pth")
    file = TorchFile(tmp_path / "x.pth")
    assert file.tensors["large"].stop - file.tensors["large"].start == n_bytes
    assert file.tensors["behind"].start >= n_bytes
    assert len(file.data("behind")) == 12
    file.close()


def test_ours_are_read_by_torch(torch: Any, tmp_path: Path) -> None:
    """Otherwise the tests above would test a layout of their own."""
    arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(2.5, np.float32),
    }
    write_torch(tmp_path / "x.pth", arrays, "F32")
    state = torch.load(tmp_path / "x.pth", weights_only=True)
    assert {name: value.tolist() for name, value in state.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }


def test_a_cut_file_of_torch_is_refused(torch: Any, tmp_path: Path) -> None:
    torch.save({"w": torch.randn(50)}, tmp_path / "whole.pth")
    raw = (tmp_path / "whole.pth").read_bytes()
    for n in range(1, len(raw), 7):
        (tmp_path / "cut.pth").write_bytes(raw[:n])
        with pytest.raises(FormatError):
            TorchFile(tmp_path / "cut.pth")
