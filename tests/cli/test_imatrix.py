"""`pyllama-rt imatrix` on the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from command_line import call, check_refused
from tiny_llama import write_tiny_llama
from typer.testing import CliRunner, Result

from pyllama_rt.cli import imatrix as module
from pyllama_rt.cli.imatrix import imatrix
from pyllama_rt.errors import ConfigError, FormatError
from pyllama_rt.quant.importance import (
    ImportanceMatrix,
    InputSquares,
    read_importance,
    write_importance,
)

EXPERTS = "blk.0.ffn_up_exps.weight"


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(imatrix)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a text, and an importance matrix of both."""
    folder = tmp_path_factory.mktemp("made")
    write_tiny_llama(folder / "m.gguf")
    (folder / "text.txt").write_text("abc def gh " * 20)
    result = run(folder / "m.gguf", "-f", folder / "text.txt", "-o", folder / "i.gguf", "--ctx", 64)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert result.stderr == f"{folder / 'i.gguf'}: 14 tensors, 3 windows of 64 tokens\n"
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_file_is_written(folder: Path) -> None:
    found = read_importance(folder / "i.gguf")
    assert found.datasets == ("text.txt",)
    assert found.tensors["blk.1.ffn_down.weight"].sums.shape == (1, 512)
    assert found.tensors["blk.1.ffn_down.weight"].counts.tolist() == [192]


def test_options_reach_the_work(folder: Path) -> None:
    result = run(
        folder / "m.gguf", "-f", folder / "text.txt", "-o", folder / "two.gguf", "--ctx", 50,
        "--windows", 2, "--threads", 1, "--process-output",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = read_importance(folder / "two.gguf")
    assert found.tensors["output.weight"].counts.tolist() == [100]


def test_files_are_merged(folder: Path) -> None:
    one = folder / "i.gguf"
    result = run("--merge", one, "--merge", one, "-o", folder / "two.gguf")
    assert result.exit_code == 0, result.output
    result = run(
        folder / "m.gguf", "-f", folder / "text.txt", "-o", folder / "three.gguf", "--ctx", 64,
        "--merge", folder / "two.gguf",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    once, thrice = read_importance(one), read_importance(folder / "three.gguf")
    assert thrice.chunk_count == 9
    assert thrice.datasets == ("text.txt",) * 3
    for name, found in thrice.tensors.items():
        assert found.counts.tolist() == [3 * 192]
        np.testing.assert_allclose(found.sums, 3 * once.tensors[name].sums, rtol=1e-6)
    # In place of what was merged.
    assert run("--merge", one, "--merge", one, "-o", one).exit_code == 0
    assert read_importance(one).chunk_count == 6


def test_correlations_may_be_left_out(folder: Path) -> None:
    bare, both = folder / "bare.gguf", folder / "both.gguf"
    model = (folder / "m.gguf", "-f", folder / "text.txt", "--ctx", 64)
    assert run(*model, "-o", bare, "--no-correlations").exit_code == 0
    name = "blk.0.attn_q.weight"
    assert read_importance(folder / "i.gguf").correlations(name) is not None
    assert read_importance(bare).correlations(name) is None
    assert bare.stat().st_size < (folder / "i.gguf").stat().st_size / 10
    result = run("--merge", bare, "--merge", folder / "i.gguf", "-o", both)
    assert "note: of 14 tensors not all files say how columns go together" in result.stderr
    assert read_importance(both).correlations(name) is None
    assert "note" not in run("--merge", bare, "--merge", bare, "-o", both).stderr
    whole = folder / "i.gguf"
    assert "note" not in run("--merge", whole, "--merge", whole, "-o", both).stderr
    assert read_importance(both).correlations(name) is not None
    assert "known of 14 of 14 tensors" in run("--show", both).stdout
    assert "known of 0 of 14 tensors" in run("--show", bare).stdout


def test_a_table_is_shown(folder: Path) -> None:
    result = run("--show", folder / "i.gguf")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len([line for line in lines if "192" in line.split()]) == 2 * 4
    assert any(line.split()[:3] == ["attn_k,", "attn_q,", "attn_v"] for line in lines)
    assert "experts" not in result.stdout
    assert lines[-2].endswith("14 tensors, 3 windows of 64 tokens of text.txt")


def test_experts_without_tokens_are_told(folder: Path) -> None:
    sums = np.array([[4, 4], [0, 0]], np.float32)
    stack = InputSquares(sums, np.array([2, 0], np.float32))
    write_importance(folder / "e.gguf", ImportanceMatrix({EXPERTS: stack}, ("[b].txt",), 1, 2))
    result = run("--merge", folder / "e.gguf", "-o", folder / "f.gguf")
    assert "note: in 1 tensors some experts met no token" in result.stderr
    shown = run("--show", folder / "f.gguf").stdout
    assert "1 of 2" in shown
    assert "ffn_up_exps" in shown
    assert "[b].txt" in shown


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "needs MODEL and -f TEXT"),
        ("m.gguf", "needs MODEL and -f TEXT"),
        ("-f text.txt", "needs MODEL and -f TEXT"),
        ("-o x.gguf", "needs MODEL and -f TEXT"),
        ("m.gguf -o x.gguf", "needs MODEL and -f TEXT"),
        ("--merge i.gguf -f text.txt -o x.gguf", "needs MODEL and -f TEXT"),
        ("m.gguf -f text.txt", "needs -o"),
        ("--merge i.gguf", "needs -o"),
        ("m.gguf -f text.txt --ctx 64 -o m.gguf", "replace its own input"),
        ("m.gguf -f text.txt --ctx 64 -o text.txt", "replace its own input"),
        ("m.gguf -f text.txt --ctx 64 -o no/folder.gguf", "a folder that exists"),
        ("m.gguf -f text.txt --ctx 64 -o .", "a folder that exists"),
        ("m.gguf -f absent.txt --ctx 64 -o x.gguf", "absent.txt: cannot open"),
        ("absent.gguf -f text.txt --ctx 64 -o x.gguf", "absent.gguf: cannot open"),
        ("m.gguf -f text.txt -o x.gguf", "one window"),
        ("m.gguf -f text.txt -o x.gguf --ctx 0", "--ctx"),
        ("m.gguf -f text.txt --ctx 64 -o x.gguf --windows 0", "--windows"),
        ("m.gguf -f text.txt --ctx 64 -o x.gguf --threads 0", "--threads"),
        ("--merge absent.gguf -o x.gguf", "absent.gguf: cannot open"),
        ("--show i.gguf -o x.gguf", "--show takes one file"),
        ("--show i.gguf --merge i.gguf", "--show takes one file"),
        ("m.gguf --show i.gguf", "--show takes one file"),
        ("--show absent.gguf", "absent.gguf: cannot open"),
    ],
)
def test_impossible_arguments_are_refused(
    line: str, reason: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in sorted(folder.iterdir())}
    result = run(*line.split())
    assert isinstance(result.exception, ConfigError), result.output
    assert reason in str(result.exception)
    assert "\n" not in str(result.exception)
    assert {path: path.read_bytes() for path in sorted(folder.iterdir())} == before


def test_files_of_another_kind_are_refused(folder: Path) -> None:
    model, matrix, out = folder / "m.gguf", folder / "i.gguf", folder / "x.gguf"
    for arguments in (("--show", model), ("--merge", model, "-o", out)):
        error = run(*arguments).exception
        assert isinstance(error, FormatError)
        assert "expected 'imatrix'" in str(error)
    error = run(matrix, "-f", folder / "text.txt", "-o", out).exception
    assert isinstance(error, FormatError)
    assert "expected a model, found 'imatrix'" in str(error)
    check_refused(call("run", matrix, "Hello"), "it is for pyllama-rt quantize --imatrix")
    assert not out.exists()


def test_an_interrupted_run_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def collect(*_: object, progress: Callable[[int, int], None], **__: object) -> ImportanceMatrix:
        progress(1, 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "collect_importance", collect)
    before = sorted(folder.iterdir())
    result = run(folder / "m.gguf", "-f", folder / "text.txt", "-o", folder / "x.gguf")
    assert result.exit_code == 130 or isinstance(result.exception, KeyboardInterrupt | SystemExit)
    assert sorted(folder.iterdir()) == before


def test_help_shows_examples() -> None:
    words = " ".join(run("--help").stdout.split())
    assert "pyllama-rt imatrix --merge one.gguf" in words
    assert "quantize model-f16.gguf small.gguf q3_k_m --imatrix imatrix.gguf" in words
