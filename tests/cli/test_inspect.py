"""`pyllama-rt inspect`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shared_data import shared

from pyllama_rt.cli.app import run_command
from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.formats.gguf import GgufFile, GgufWriter
from pyllama_rt.formats.tensor_types import tensor_type
from pyllama_rt.quant import quantize


def test_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["inspect", str(DEMO_MODEL)]) == 0
    text = capsys.readouterr().out
    for words in ("GGUF v3", "llama.context_length", "512", "q6_k", "bits each", "memory to run"):
        assert words in text
    assert "blk.0.attn_q.weight" not in text
    assert run_command(["inspect", str(DEMO_MODEL), "--tensors"]) == 0
    assert "blk.0.attn_q.weight" in capsys.readouterr().out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["inspect", str(DEMO_MODEL), "--json", "--verify"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["metadata"]["general.architecture"] == "llama"
    assert report["metadata"]["tokenizer.ggml.tokens"] == {
        "array": "string",
        "length": 4096,
        "first": ["<unk>", "<s>", "</s>"],
    }
    with GgufFile.open(DEMO_MODEL) as file:
        assert len(report["tensors"]) == len(file.tensors)
        assert report["tensor_bytes"] == sum(info.n_bytes for info in file.tensors.values())
    assert report["file_bytes"] == DEMO_MODEL.stat().st_size
    assert 6 < report["bits_per_weight"] < 7
    assert set(report["memory"]) == {"weights", "cache", "scratch"}


def write_file(path: Path, damaged: bool) -> None:
    """Two tensors; where damaged, the scale of one block of the second is a NaN."""
    blocks = quantize(np.ones((40, 64), np.float32), "q8_0")
    if damaged:
        blocks[33, 1] = 0x7E
    with GgufWriter(path) as writer:
        writer.add("general.architecture", "nothing\x1b[31m known")
        writer.add("x.nan", float("nan"))
        writer.declare("fine", (3, 4), tensor_type("f32"))
        writer.declare("second", (40, 64), tensor_type("q8_0"))
        writer.write_tensor("fine", [np.zeros(48, np.uint8)])
        writer.write_tensor("second", [blocks])


def test_verify_names_what_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_file(tmp_path / "good.gguf", damaged=False)
    write_file(tmp_path / "bad.gguf", damaged=True)
    assert run_command(["inspect", str(tmp_path / "good.gguf"), "--verify"]) == 0
    assert run_command(["inspect", str(tmp_path / "bad.gguf")]) == 0
    capsys.readouterr()
    assert run_command(["inspect", str(tmp_path / "bad.gguf"), "--verify"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "second (1 rows)" in error
    assert "fine" not in error


def test_a_file_that_cannot_run_is_still_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_file(tmp_path / "x.gguf", damaged=False)
    assert run_command(["inspect", str(tmp_path / "x.gguf")]) == 0
    text = capsys.readouterr().out
    assert "cannot be run here" in text
    assert "nothing" in text
    assert "\x1b" not in text
    assert run_command(["inspect", str(tmp_path / "x.gguf"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metadata"]["x.nan"] == "nan"


def test_a_vocabulary_alone(capsys: pytest.CaptureFixture[str]) -> None:
    path = shared("vocab/ggml-vocab-llama-spm.gguf")
    assert run_command(["inspect", str(path), "--verify"]) == 0
    assert "0 weights" in capsys.readouterr().out


def test_wrong_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF\x03")
    for path in (tmp_path, tmp_path / "x.gguf", tmp_path / "none.gguf"):
        assert run_command(["inspect", str(path)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
