"""`pyllama-rt split` and `pyllama-rt merge` on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from checkpoints import HuggingFace
from command_line import call, check_refused
from typer.testing import CliRunner, Result

from pyllama_rt.cli.merge import merge
from pyllama_rt.cli.split import split
from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.errors import ConfigError


def run(command: Callable[..., None], *arguments: object) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    convert_checkpoint(HuggingFace().write(tmp_path / "m"), tmp_path / "in.gguf")
    return tmp_path / "in.gguf"


def test_there_and_back(model: Path, tmp_path: Path) -> None:
    result = run(split, model, "-o", tmp_path / "p", "--max-size", "30k")
    assert result.exit_code == 0, result.output
    parts = sorted(tmp_path.glob("p-*.gguf"))
    assert len(parts) > 2
    assert result.stdout == ""
    assert f"{parts[0]}: first of {len(parts)} files" in result.stderr
    assert max(part.stat().st_size for part in parts) <= 30_000
    result = run(merge, parts[0], "--out", tmp_path / "out.gguf")
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'out.gguf'}: parts joined: {len(parts)}" in result.stderr
    assert (tmp_path / "out.gguf").read_bytes() == model.read_bytes()


def test_by_number_of_tensors(model: Path, tmp_path: Path) -> None:
    result = run(split, model, "-o", tmp_path / "p", "--max-tensors", 100)
    assert result.exit_code == 0, result.output
    assert "p-00001-of-00001.gguf: the only file" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--max-size", "2G", "--max-tensors", "3"),
        ("--max-size", "2T"),
        ("--max-size", "-1"),
        ("--max-size", "1.5G"),
        ("--max-size", ""),
        ("--max-size", "0"),
        ("--max-tensors", "0"),
        ("--max-tensors", "-1"),
    ],
)
def test_impossible_arguments_are_refused(
    arguments: tuple[str, ...], model: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    result = run(split, model, "-o", tmp_path / "p", *arguments)
    assert isinstance(result.exception, ConfigError), result.output
    assert "\n" not in str(result.exception)
    assert sorted(tmp_path.iterdir()) == before


def test_the_output_must_be_named(model: Path) -> None:
    assert run(split, model, "--max-tensors", 3).exit_code == 2
    assert run(merge, model).exit_code == 2


def test_names_of_other_tools_lead_here(model: Path) -> None:
    check_refused(call("gguf-split", model), "did you mean 'split'")


def test_help_shows_examples() -> None:
    assert "pyllama-rt split" in run(split, "--help").stdout
    assert "pyllama-rt merge" in run(merge, "--help").stdout
