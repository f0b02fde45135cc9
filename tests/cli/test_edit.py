"""`pyllama-rt edit` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from checkpoints import HuggingFace
from typer.testing import CliRunner, Result

from pyllama_rt.cli.edit import edit
from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.gguf import GgufFile


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(edit)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    convert_checkpoint(HuggingFace().write(tmp_path / "m"), tmp_path / "in.gguf")
    return tmp_path / "in.gguf"


def test_metadata_are_changed(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    result = run(
        model, "-o", out, "--set", "general.name=My LLaMA", "--set", "general.license:string=mit",
        "--remove", "tokenizer.ggml.pre",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert f"{out}: keys set: 2, removed: 1" in result.stderr
    with GgufFile.open(out) as file:
        assert file.get_str("general.name") == "My LLaMA"
        assert file.get_str("general.license") == "mit"
        assert not file.has("tokenizer.ggml.pre")


def test_the_input_is_never_the_output(model: Path) -> None:
    before = model.read_bytes()
    result = run(model, "-o", model, "--set", "general.name=x")
    assert isinstance(result.exception, ConfigError)
    assert model.read_bytes() == before


def test_a_change_must_be_asked_for(model: Path, tmp_path: Path) -> None:
    result = run(model, "-o", tmp_path / "out.gguf")
    assert isinstance(result.exception, ConfigError)
    assert "--set KEY=VALUE or --remove KEY" in str(result.exception)
    assert not (tmp_path / "out.gguf").exists()
    assert run(model, "--set", "general.name=x").exit_code == 2


def test_help_shows_examples() -> None:
    text = run("--help").stdout
    assert "pyllama-rt edit" in text
    assert "--remove" in text
