"""Damaged numbers in a model file are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pyllama_rt.formats.gguf import GgufFile, GgufWriter
from pyllama_rt.quant import quantize, verify
from pyllama_rt.quant.verify import Damage, find_damage

N_ROWS = 20


def write(path: Path, type_name: str, damaged_rows: dict[str, dict[int, bytes]]) -> Path:
    """Two sound-looking tensors and a table of integers; rows get other first bytes."""
    rng = np.random.default_rng(3)
    with GgufWriter(path) as writer:
        raw = {}
        for name in ("a.weight", "b.weight"):
            rows = quantize(rng.standard_normal((N_ROWS, 256), dtype=np.float32), type_name)
            for row, head in damaged_rows.get(name, {}).items():
                rows[row, : len(head)] = np.frombuffer(head, np.uint8)
            raw[name] = rows
            writer.declare(name, (N_ROWS, 256), type_name)
        writer.declare("table", (2,), "i32")
        for name, rows in raw.items():
            writer.write_tensor(name, rows)
        writer.write_tensor("table", b"\xff" * 8)
    return path


INFINITE = {
    "f32": b"\x00\x00\x80\x7f",
    "f16": b"\x00\xfc",
    "bf16": b"\x80\x7f",
    "q8_0": b"\x00\x7c",
}
NAN = {"f32": b"\x01\x00\x80\xff", "f16": b"\x01\x7e", "bf16": b"\xc0\x7f", "q8_0": b"\xff\xff"}


@pytest.mark.parametrize("chunk", [1, 256 * 7, 1 << 22])
@pytest.mark.parametrize("type_name", INFINITE)
def test_damage_is_counted_by_row(
    type_name: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_CHUNK_ELEMENTS", chunk)
    damaged = {"b.weight": {0: NAN[type_name], 7: INFINITE[type_name], 19: NAN[type_name]}}
    with GgufFile.open(write(tmp_path / "m.gguf", type_name, damaged)) as file:
        assert list(find_damage(file)) == [Damage("b.weight", 3)]
    with GgufFile.open(write(tmp_path / "sound.gguf", type_name, {})) as file:
        assert not list(find_damage(file))


def test_progress_covers_every_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_CHUNK_ELEMENTS", 256 * 6)
    seen: list[tuple[str, int, int]] = []
    with GgufFile.open(write(tmp_path / "m.gguf", "f16", {})) as file:
        assert not list(find_damage(file, lambda *step: seen.append(step)))
    n_total = 2 * N_ROWS * 512
    assert [name for name, _, _ in seen] == ["a.weight"] * 4 + ["b.weight"] * 4
    assert seen[-1] == ("b.weight", n_total, n_total)
