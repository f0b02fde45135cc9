"""`pyllama-rt convert` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from checkpoints import HuggingFace, write_llama2c
from typer.testing import CliRunner, Result

from pyllama_rt.cli.convert import convert
from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.gguf import GgufFile


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(convert)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_directory_becomes_a_file(tmp_path: Path) -> None:
    HuggingFace().write(tmp_path / "m")
    result = run(tmp_path / "m", "-o", tmp_path / "x.gguf", "--outtype", "Q8_0", "--threads", 1)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert f"{tmp_path / 'x.gguf'}: q8_0, 21 tensors" in result.stderr
    with GgufFile.open(tmp_path / "x.gguf") as file:
        assert file.tensors["output.weight"].type.name == "q8_0"


def test_llama2c_with_its_tokenizer(tmp_path: Path) -> None:
    write_llama2c(tmp_path / "m.bin")
    next(tmp_path.glob("tok*.bin")).rename(tmp_path / "other")
    out = tmp_path / "x.gguf"
    result = run(tmp_path / "m.bin", "--out", out, "--tokenizer", tmp_path / "other")
    assert result.exit_code == 0, result.output
    with GgufFile.open(out) as file:
        assert file.get_int("llama.embedding_length") == 16


@pytest.mark.parametrize("threads", [0, -1, 10**6])
def test_impossible_threads_are_refused(threads: int, tmp_path: Path) -> None:
    HuggingFace().write(tmp_path / "m")
    result = run(tmp_path / "m", "-o", tmp_path / "x.gguf", "--threads", threads)
    assert isinstance(result.exception, ConfigError)
    assert "--threads" in str(result.exception)
    assert not (tmp_path / "x.gguf").exists()


def test_the_output_must_be_named(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 2


def test_help_shows_examples() -> None:
    text = run("--help").stdout
    assert "pyllama-rt convert" in text
    assert "--outtype" in text
