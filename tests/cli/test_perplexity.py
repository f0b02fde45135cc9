"""`pyllama-rt perplexity` with the demo model in the package."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import COMMAND, FOLDER, call, check_refused
from families import write_family
from scored_models import write_damaged
from tiny_llama import write_tiny_llama

from pyllama_rt.cli.app import run_command
from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.convert import convert_checkpoint

TEXT = "Tom had a red ball. One day the ball fell into the pond and a little duck found it. " * 8
MODEL = str(DEMO_MODEL)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def found(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    status = run_command(["perplexity", *map(str, arguments), "--ctx", "64", "--json"])
    output = capsys.readouterr()
    assert status == 0, output.err
    assert output.err == ""
    data: dict[str, Any] = json.loads(output.out)
    return data


def test_a_short_report(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["perplexity", MODEL, "-f", str(text), "--ctx", "64"]) == 0
    output = capsys.readouterr()
    first, second = output.out.splitlines()
    assert first.split()[0] == "perplexity"
    assert float(first.split()[1]) > 1
    assert " windows of 64, " in second
    assert output.err == ""


def test_json_and_options(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = found(capsys, MODEL, "-f", text)
    assert full["model"] == MODEL
    assert (full["n_ctx"], full["stride"]) == (64, None)
    assert full["n_windows"] > 1
    assert full["n_tokens"] == 31 * full["n_windows"]
    assert full["standard_error"] > 0
    part = found(capsys, MODEL, "-f", text, "--windows", 1, "--threads", 1, "--kv-type", "f32")
    assert (part["n_windows"], part["n_tokens"]) == (1, 31)
    sliding = found(capsys, MODEL, "-f", text, "--stride", 16, "--windows", 3)
    assert (sliding["stride"], sliding["n_tokens"]) == (16, 48)


def test_the_text_on_standard_input(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call("perplexity", MODEL, "-f", "-", "--ctx", "64", "--json", stdin=TEXT.encode())
    assert done.returncode == 0, done.stderr
    piped, read = json.loads(done.stdout), found(capsys, MODEL, "-f", text)
    assert piped["perplexity"] == read["perplexity"]


def test_logits_saved_and_compared(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base.kld"
    saved = found(capsys, MODEL, "-f", text, "--save-logits", base)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.kld", "text.txt"]
    same = found(capsys, MODEL, "--kl-base", base)
    assert same["perplexity"] == saved["perplexity"]
    assert same["kl_divergence"]["value"] < 1e-6
    assert same["same_top"]["value"] > 0.99
    assert same["base_perplexity"]["value"] == pytest.approx(saved["perplexity"], rel=1e-3)
    assert same["n_ctx"] == 64
    coarse = found(capsys, MODEL, "--kl-base", base, "-f", text, "--kv-type", "q8_0")
    assert coarse["kl_divergence"]["value"] > same["kl_divergence"]["value"]
    assert set(coarse["kl_divergence"]["percentiles"]) == {"50", "90", "95", "99", "100"}
    assert set(coarse["delta_p"]["percentiles"]) == {"1", "5", "95", "99"}
    assert run_command(["perplexity", MODEL, "--kl-base", str(base), "--windows", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = ["perplexity", "of the base", "ratio", "KL divergence", "same top", "Δp", "31 tokens"]
    assert len(lines) == len(words)
    for line, word in zip(lines, words, strict=True):
        assert line.startswith(word)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that says why."""
    assert run_command(["perplexity", *map(str, arguments)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    return output.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "-f"),
        (["-f", "TEXT", "--ctx", "2"], "--ctx: expected a whole number from 3"),
        (["-f", "TEXT", "--ctx", "1099511627776"], "--ctx"),
        (["-f", "TEXT", "--ctx", "8", "--stride", "8"], "--stride: expected a whole number from 1"),
        (["-f", "TEXT", "--windows", "0"], "--windows"),
        (["-f", "TEXT", "--threads", "0"], "--threads"),
        (["-f", "TEXT", "--ctx", "4096"], "tokens; expected at least 4096, which is one window"),
        (["-f", "missing.txt"], "missing.txt: cannot open the file"),
        (["-f", "/"], "expected a"),
        (["-f", "TEXT", "--save-logits", "TEXT"], "would replace an input"),
        (["-f", "TEXT", "--save-logits", MODEL], "would replace an input"),
        (["-f", "TEXT", "--save-logits", "out", "--stride", "8"], "--stride"),
        (["-f", "TEXT", "--save-logits", "no/such/out", "--ctx", "64"], "does not exist"),
        (["-f", "TEXT", "--save-logits", "out", "--kl-base", "TEXT"], "one by one"),
        (["--kl-base", "TEXT"], "magic at byte 0"),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    arguments: list[str], words: str, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(text) if argument == "TEXT" else argument for argument in arguments]
    assert words in refused(capsys, MODEL, *given)
    assert text.read_text(encoding="utf-8") == TEXT


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "the text is empty"),
        (b"abc\xe9 def", "text at byte 3: expected UTF-8, found byte 0xe9"),
        (b"short", "tokens; expected at least 512"),
    ],
)
def test_texts_that_will_not_do(
    raw: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(raw)
    assert f"{path}: " in (line := refused(capsys, MODEL, "-f", path)) or raw == b"short"
    assert words in line


def test_standard_input_that_is_no_text() -> None:
    done = call("perplexity", MODEL, "-f", "-", stdin=b"abc\xe9 def")
    check_refused(done, "standard input: text at byte 3", "found byte 0xe9")


def test_bases_that_do_not_fit(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, other = tmp_path / "base.kld", tmp_path / "other.txt"
    found(capsys, MODEL, "-f", text, "--save-logits", base)
    other.write_text("x" + TEXT, encoding="utf-8")
    tiny = write_tiny_llama(tmp_path / "tiny.gguf").path
    assert "another text" in refused(capsys, MODEL, "--kl-base", base, "-f", other)
    assert "273 pieces" in refused(capsys, tiny, "--kl-base", base)
    assert "--ctx: expected 64" in refused(capsys, MODEL, "--kl-base", base, "--ctx", 32)
    assert "--stride" in refused(capsys, MODEL, "--kl-base", base, "--stride", 8)
    base.write_bytes(base.read_bytes()[:-1])
    assert "cut short" in refused(capsys, MODEL, "--kl-base", base)


def test_models_that_will_not_do(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    given = ("-f", text, "--ctx", 16, "--save-logits", out / "base.kld")
    damaged = write_damaged(tmp_path / "damaged.gguf")
    assert "NaN" in refused(capsys, damaged, *given)
    convert_checkpoint(write_family("bert", tmp_path / "bert"), tmp_path / "bert.gguf")
    assert "vectors" in refused(capsys, tmp_path / "bert.gguf", *given)
    assert not list(out.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    text, out = tmp_path / "text.txt", tmp_path / "out"
    text.write_text(TEXT * 600, encoding="utf-8")
    out.mkdir()
    with subprocess.Popen(
        [*COMMAND, "perplexity", MODEL, "-f", text, "--save-logits", out / "base.kld"],
        cwd=FOLDER, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        while not list(out.iterdir()):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(number)
        output, errors = process.communicate()
    assert process.returncode == 128 + number
    assert output == b""
    assert errors == (b"interrupted\n" if number == signal.SIGINT else b"")
    assert not list(out.iterdir())


def test_learned_positions_end(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert_checkpoint(write_family("gpt2", tmp_path / "m"), tmp_path / "m.gguf")
    line = refused(capsys, tmp_path / "m.gguf", "-f", text, "--ctx", 100000)
    assert "learned positions, found 100000" in line
