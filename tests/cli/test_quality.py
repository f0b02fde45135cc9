"""`pyllama-rt quality` with tiny models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import COMMAND, FOLDER, call
from quality_reports import report, row
from rich.console import Console
from scored_models import write_damaged
from tiny_llama import tiny_config, write_tiny_llama

from pyllama_rt.cli.app import run_command
from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.cli.quality_report import Setting, print_report
from pyllama_rt.evaluate.estimate import Estimate
from pyllama_rt.evaluate.importance import collect_importance
from pyllama_rt.quant.importance import write_importance

TEXT = "abc def ghi jkl mab cde fgh ijk lma bcd " * 3


def test_an_importance_matrix_is_used_and_named(
    model: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matrix = tmp_path / "imatrix.gguf"
    write_importance(matrix, collect_importance(model, TEXT, n_ctx=16))
    arguments = (model, "-f", text, "--levels", "q4_0", "--no-speed", "--json")
    assert run(*arguments) == run(*arguments, "--imatrix", matrix) == 0
    plain, guided = json.JSONDecoder(), capsys.readouterr().out
    first, end = plain.raw_decode(guided)
    second = json.loads(guided[end:])
    assert (first["imatrix"], second["imatrix"]) == (None, "imatrix.gguf")
    rows = [data["levels"][0]["kl_divergence"]["value"] for data in (first, second)]
    assert rows[0] != rows[1]


class Narrow(Console):
    """A terminal of 80 columns."""

    def __init__(self, width: int = 80) -> None:
        super().__init__(width=width, force_terminal=True, color_system=None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "tiny-f16.gguf", "f16").path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def run(*arguments: object) -> int:
    return run_command(["quality", *map(str, arguments), "--ctx", "16"])


def test_a_table_and_advice(model: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "-f", text, "--levels", "q8_0, Q2_K") == 0
    output = capsys.readouterr()
    assert output.err == ""
    lines = output.out.splitlines()
    header = next(line for line in lines if "level" in line)
    for word in ("MiB", "bits", "perplexity", "ratio", "KL", "same top", "prompt", "generate"):
        assert word in header
    cells = [line.split()[0] for line in lines if " ± " in line or line.endswith("100.0%")]
    assert cells[:2] == ["q2_k", "q8_0"]
    assert "Only where nothing else fits: q2_k, above 10%." in lines
    assert "text.txt: " in lines[-1]
    assert "16 tokens read, 16 generated" in lines[-1]


def test_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pyllama_rt.cli.quality_report.Console", Narrow)
    found = report(row("q4_k_m", 9, kl=Estimate(0.012345, 0.001), speed=Estimate(1234, 5)))
    print_report(found, Setting.of(Path("m.gguf"), "book.txt"))
    lines = capsys.readouterr().out.splitlines()
    cells = next(line for line in lines if line.startswith("q4_k_m")).split()
    assert cells[3:6] == ["8.000", "1", "0.012345"]
    assert cells[8:] == ["1234", "1234"]
    assert "perplexity" in lines[1]
    assert "…" not in "".join(lines)


def test_json(model: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = (model, "-f", text, "--levels", "q2_k,q8_0", "--windows", 2, "--threads", 1)
    assert run(*given, "--no-speed", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["model"], data["text"]) == ("tiny-f16.gguf", "text.txt")
    assert (data["n_ctx"], data["n_windows"], data["n_tokens"]) == (16, 2, 14)
    assert data["threads"] == 1
    assert data["base"]["level"] == "f16"
    assert data["base"]["prompt"] is None
    first, second = data["levels"]
    assert (first["level"], second["level"]) == ("q2_k", "q8_0")
    assert first["kl_divergence"]["value"] > second["kl_divergence"]["value"] > 0
    assert first["kl_divergence"]["percentiles"]["99"] > first["kl_divergence"]["value"]
    assert first["loss"] > second["loss"] > 0
    assert data["recommended"]["damaged"] == ["q2_k"]
    assert data["recommended"]["short_text"] is True


def test_a_folder(model: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out = text.parent / "report"
    assert run(model, "-f", text, "--levels", "q4_0", "--no-speed", "--out", out) == 0
    output = capsys.readouterr()
    assert output.err == ""
    names = ["quality.json", "quality.md", "quality.png", "quality.svg"]
    assert sorted(path.name for path in out.iterdir()) == names
    page = (out / "quality.md").read_text(encoding="utf-8").splitlines()
    assert page[0] == "# What quantising costs tiny-f16.gguf"
    assert [line.count("|") for line in page[2:6]] == [9] * 4
    assert page[4].startswith("| q4_0 | ")
    assert page[-1].endswith("(quality.svg)")
    data = json.loads((out / "quality.json").read_text(encoding="utf-8"))
    assert data["levels"][0]["level"] == "q4_0"
    for part in page[4].split("|")[1:3]:  # the same figures on the terminal
        assert part.strip() in output.out


def test_without_matplotlib(
    model: Path, text: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = text.parent / "report"
    assert run(model, "-f", text, "--levels", "q4_0", "--no-speed", "--out", out) == 0
    assert capsys.readouterr().err == (
        "note: there is no picture, because matplotlib is not installed: "
        "pip install 'pyllama-rt[plots]'\n"
    )
    assert sorted(path.name for path in out.iterdir()) == ["quality.json", "quality.md"]
    assert "quality.svg" not in (out / "quality.md").read_text(encoding="utf-8")


def test_the_text_on_standard_input(model: Path) -> None:
    options = ("--ctx", "16", "--levels", "q4_0", "--no-speed", "--json")
    done = call("quality", model, "-f", "-", *options, stdin=TEXT.encode())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == "standard input"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no text: give one with -f"),
        (["-f", "TEXT", "--levels", "q4_k_m,q5_k_x"], "'q5_k_x' is unknown (did you mean"),
        (["-f", "TEXT", "--levels", ""], "'' is unknown"),
        (["-f", "TEXT", "--windows", "0"], "--windows: expected a whole number from 1"),
        (["-f", "TEXT", "--threads", "0"], "--threads: expected a whole number from 1"),
        (["-f", "TEXT", "--out", "TEXT"], "found a file"),
        (["-f", "TEXT", "--out", "FULL"], "the folder is not empty"),
        (["-f", "TEXT", "--out", "no/such/out"], "does not exist"),
        (["-f", "EMPTY"], "the text is empty"),
        (["-f", "SHORT"], "tokens; expected at least 16, which is one window"),
        (["-f", "missing.txt"], "missing.txt: cannot open the file"),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    arguments: list[str], words: str, model: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = text.parent
    full, empty, short = folder / "full", folder / "empty.txt", folder / "short.txt"
    full.mkdir()
    (full / "quality.md").write_text("old", encoding="utf-8")
    empty.write_bytes(b"")
    short.write_bytes(b"abc")
    names = {"TEXT": text, "FULL": full, "EMPTY": empty, "SHORT": short}
    before = sorted(folder.rglob("*"))
    assert words in refused(capsys, model, *(names.get(name, name) for name in arguments))
    assert sorted(folder.rglob("*")) == before
    assert (full / "quality.md").read_text(encoding="utf-8") == "old"


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that says why."""
    assert run(*arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    return output.err


def test_models_that_will_not_do(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    damaged = write_damaged(tmp_path / "nan.gguf")
    assert "NaN or an infinity" in refused(capsys, damaged, "-f", text, "--out", out)
    assert "--allow-requantize" in refused(capsys, DEMO_MODEL, "-f", text, "--out", out)
    assert "magic" in refused(capsys, text, "-f", text, "--out", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nan.gguf", "text.txt"]


@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    # Large enough that the signal comes before the end: q2_k takes seconds for it.
    source = write_tiny_llama(tmp_path / "in.gguf", "f16", config=tiny_config(1024, 4)).path
    text, scratch, out = tmp_path / "text.txt", tmp_path / "scratch", tmp_path / "out"
    text.write_text(TEXT, encoding="utf-8")
    scratch.mkdir()
    out.mkdir()
    options = ["--ctx", "16", "--levels", "q2_k", "--threads", "1", "--out", str(out / "report")]
    with subprocess.Popen(
        [*COMMAND, "quality", source, "-f", text, *options],
        cwd=FOLDER, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(scratch)},
    ) as process:  # fmt: skip
        while not list(scratch.rglob("*.tmp")):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(number)
        output, errors = process.communicate()
    assert process.returncode == 128 + number
    assert output == b""
    assert errors == (b"interrupted\n" if number == signal.SIGINT else b"")
    assert not list(scratch.iterdir())
    assert not list(out.iterdir())
