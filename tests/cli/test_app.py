"""The list of subcommands and what becomes of errors."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest
from command_line import call, check_refused

from pyllama_rt import __version__
from pyllama_rt.cli import app
from pyllama_rt.cli.app import SUBCOMMANDS, run_command


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out == f"pyllama-rt {__version__}\n"
    assert run_command(["--help"]) == 0
    with_option = capsys.readouterr().out
    assert run_command([]) == 0
    assert capsys.readouterr().out.strip() == with_option.strip()
    for name, summary in SUBCOMMANDS.items():
        assert name in with_option
        assert summary in with_option


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_each_command_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = name.replace("-", "_")
    function = getattr(import_module(f"pyllama_rt.cli.{file}"), file)
    text = inspect.getdoc(function)
    assert text is not None
    assert text.splitlines()[0] == SUBCOMMANDS[name]
    assert run_command([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: pyllama-rt {name}" in shown
    assert shown.count(f"pyllama-rt {name}") > 1, "no examples"


def test_a_misspelt_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["quantise"]) == 2
    assert capsys.readouterr().err == (
        "error: no command 'quantise' (did you mean 'quantize'?) (see pyllama-rt --help)\n"
    )


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (OSError(28, "No space left on device", "out.gguf"), 2, "error: out.gguf: No space left"),
        (MemoryError(), 2, "error: not enough memory"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), 2, "error: 'utf-8' codec"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_of_the_system(
    error: BaseException,
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(app, "_invoke", fail)
    monkeypatch.setattr(app, "abandon_stdout", lambda: None)
    assert run_command(["doctor"]) == status
    assert capsys.readouterr().err.startswith(line)


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise AttributeError("ours")

    monkeypatch.setattr(app, "_invoke", fail)
    with pytest.raises(AttributeError):
        run_command(["doctor"])


def test_the_module_runs() -> None:
    check_refused(call("tokenize", "no-such.gguf", "x"), "no-such.gguf")
