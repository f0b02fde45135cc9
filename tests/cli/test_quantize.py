"""`pyllama-rt quantize` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from checkpoints import HuggingFace, config
from typer.testing import CliRunner, Result

from pyllama_rt.cli.quantize import quantize
from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.convert.type_options import read_type_options
from pyllama_rt.errors import ConfigError, FormatError
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.quant.importance import ImportanceMatrix, InputSquares, write_importance


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(quantize)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    convert_checkpoint(HuggingFace().write(tmp_path / "m"), tmp_path / "in.gguf")
    return tmp_path / "in.gguf"


def test_a_file_is_written(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    result = run(source, out, "Q4_0", "--tensor-type", "attn_v=q8_0", "--tensor-type", "ffn_up=f16")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert f"{out}: q4_0, 21 tensors" in result.stderr
    with GgufFile.open(out) as file:
        assert file.tensors["blk.0.attn_v.weight"].type.name == "q8_0"
        assert file.tensors["blk.1.ffn_up.weight"].type.name == "f16"
        assert file.tensors["blk.1.ffn_down.weight"].type.name == "q4_0"


def test_an_importance_matrix_is_used_and_its_gaps_are_told(source: Path, tmp_path: Path) -> None:
    with GgufFile.open(source) as file:
        width = file.tensors["blk.0.attn_q.weight"].shape[-1]
    squares = InputSquares(
        np.geomspace(1, 100, width, dtype=np.float32)[None], np.ones(1, np.float32)
    )
    matrix = tmp_path / "imatrix.gguf"
    write_importance(matrix, ImportanceMatrix({"blk.0.attn_q.weight": squares}, ("text",), 1, 512))
    result = run(source, tmp_path / "guided.gguf", "q4_0", "--imatrix", matrix)
    assert result.exit_code == 0, result.output
    assert "says nothing of 13 weights in layers, as blk.0.attn_k.weight" in result.stderr
    run(source, tmp_path / "plain.gguf", "q4_0")
    with GgufFile.open(tmp_path / "guided.gguf") as a, GgufFile.open(tmp_path / "plain.gguf") as b:
        changed = {n for n in a.tensors if bytes(a.tensor_data(n)) != bytes(b.tensor_data(n))}
    assert changed == {"blk.0.attn_q.weight"}


def test_a_model_is_no_importance_matrix(source: Path, tmp_path: Path) -> None:
    result = run(source, tmp_path / "out.gguf", "q4_0", "--imatrix", source)
    assert isinstance(result.exception, FormatError)
    assert not (tmp_path / "out.gguf").exists()


def test_fallbacks_are_told(source: Path, tmp_path: Path) -> None:
    result = run(source, tmp_path / "out.gguf", "q4_k", "--pure")
    assert result.exit_code == 0, result.output
    assert "note: 16 tensors are q5_0 instead of q4_k" in result.stderr


@pytest.mark.parametrize("with_out", [False, True])
def test_a_dry_run_writes_nothing(with_out: bool, source: Path, tmp_path: Path) -> None:
    out = [tmp_path / "out.gguf"] if with_out else []
    result = run(source, *out, "q8_0", "--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 22
    assert lines[0].split() == ["token_embd.weight", "273", "x", "32", "f16", "->", "q8_0", "9,282"]
    assert lines[-1].startswith("q8_0: 21 tensors, ")
    assert not (tmp_path / "out.gguf").exists()


def test_a_dry_run_takes_a_config(tmp_path: Path) -> None:
    values = config(hidden_size=256, intermediate_size=768, head_dim=64)
    (tmp_path / "config.json").write_text(json.dumps(values))
    result = run(tmp_path / "config.json", "Q4_K_M", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "output.weight" in result.stdout
    assert "bits per weight" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--dry-run",),
        ("q8_0",),
        ("out.gguf", "q9"),
        ("out.gguf", "q8_0", "--threads", "0"),
        ("out.gguf", "q8_0", "--tensor-type", "x"),
        ("q9", "--dry-run"),
        ("no/such/folder/out.gguf", "q8_0"),
    ],
)
def test_impossible_arguments_are_refused(
    arguments: tuple[str, ...], source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    result = run(source, *arguments)
    assert isinstance(result.exception, ConfigError), result.output
    assert "\n" not in str(result.exception)
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("abc def ghi jkl mab cde fgh ijk lma bcd " * 4)
    return path


def least_bytes(source: Path) -> int:
    options = read_type_options(source)
    return options.least + options.rest_bytes


def test_a_target_is_met_and_what_it_costs_is_told(
    source: Path, text: Path, tmp_path: Path
) -> None:
    wanted = least_bytes(source) + 1500
    result = run(
        source, tmp_path / "out.gguf", "--target-size", wanted, "-f", text, "--ctx", 32,
        "--windows", 2, "--tensor-type", "attn_v=q8_0",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert wanted - 1500 < (tmp_path / "out.gguf").stat().st_size <= wanted
    assert "predicted KL divergence: " in result.stderr
    assert "out.gguf: types by choice, 21 tensors" in result.stderr
    with GgufFile.open(tmp_path / "out.gguf") as file:
        assert file.tensors["blk.1.attn_v.weight"].type.name == "q8_0"


@pytest.mark.parametrize("with_out", [False, True])
def test_a_target_may_be_tried_dry(
    with_out: bool, source: Path, text: Path, tmp_path: Path
) -> None:
    out = [tmp_path / "out.gguf"] if with_out else []
    result = run(source, *out, "--target-bpw", 7, "-f", text, "--ctx", 32, "--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 22
    assert lines[-1].startswith("types by choice: 21 tensors, ")
    assert 6.8 < float(lines[-1].split(", ")[-1].split()[0]) <= 7
    assert "predicted KL divergence: " in result.stderr
    assert not (tmp_path / "out.gguf").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("out.gguf", "--target-size", "1MB"), "needs -f TEXT"),
        (("out.gguf", "q4_0", "-f", "text.txt"), "-f TEXT serves --target-size"),
        (("out.gguf", "q4_0", "--ctx", "64"), "--ctx serves --target-size"),
        (("out.gguf", "q4_0", "--windows", "2"), "--windows serves --target-size"),
        (("out.gguf", "--target-size", "1MB", "--target-bpw", "4", "-f", "text.txt"), "one of"),
        (("out.gguf", "q4_0", "--target-size", "1MB", "-f", "text.txt"), "no TYPE"),
        (("out.gguf", "--pure", "--target-size", "1MB", "-f", "text.txt"), "--pure"),
        (("--target-size", "1MB", "-f", "text.txt"), "needs IN.gguf and OUT.gguf, found"),
        (("in.gguf", "--target-size", "1MB", "-f", "text.txt"), "replace its own input"),
        (("no/folder/out.gguf", "--target-size", "1MB", "-f", "text.txt"), "folder that exists"),
        (("out.gguf", "--target-size", "1", "-f", "text.txt"), "expected at least"),
        (("out.gguf", "--target-size", "big", "-f", "text.txt"), "--target-size: expected a size"),
        (("out.gguf", "--target-bpw", "nan", "-f", "text.txt"), "--target-bpw: expected"),
        (("out.gguf", "--target-size", "1MB", "-f", "no.txt"), "no.txt"),
        (("out.gguf", "--target-size", "1MB", "-f", "text.txt", "--windows", "0"), "--windows"),
        (("out.gguf", "--target-size", "1MB", "-f", "text.txt", "--ctx", "512"), "one window"),
    ],
)
@pytest.mark.usefixtures("text")
def test_impossible_targets_are_refused(
    arguments: tuple[str, ...],
    words: str,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    result = run(source, *arguments)
    assert isinstance(result.exception, ConfigError), result.output
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)
    assert sorted(tmp_path.iterdir()) == before


def test_help_shows_examples() -> None:
    text = run("--help").stdout
    assert "pyllama-rt quantize" in text
    assert "--dry-run" in text
