"""`pyllama-rt bench` with the demo model in the package."""

from __future__ import annotations

import json

import pytest

from pyllama_rt.cli.app import run_command
from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.engine import bench
from pyllama_rt.engine.bench import Roofline

SHORT = [str(DEMO_MODEL), "-p", "16", "-n", "4", "-r", "2"]


@pytest.fixture(autouse=True)
def _no_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "measure_roofline", lambda n: Roofline(n * 1e11, n * 1e10))


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", *SHORT, "-t", "1,2", "-d", "0,32"]) == 0
    found = capsys.readouterr()
    assert found.out.count("prompt 16") == found.out.count("generate 4") == 4
    for word in ("tokens/s", "GMAC/s", "GB/s", "%"):
        assert word in found.out
    assert found.err == ""


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", *SHORT, "-t", "2", "-d", "8", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == str(DEMO_MODEL)
    assert report["instruction_set"]
    prompt, generate = report["results"]
    assert (prompt["test"], prompt["n_tokens"], generate["n_tokens"]) == ("prompt", 16, 4)
    for row in (prompt, generate):
        assert (row["threads"], row["depth"], len(row["runs"])) == (2, 8, 2)
        assert row["tokens_per_second"] > 0
        assert row["fraction"] > 0
    assert prompt["macs_per_second"] > 0
    assert generate["bytes_per_second"] > report["weight_bytes"]


def test_one_kind_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", *SHORT, "-p", "0", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [row["test"] for row in results] == ["generate"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-t", "0"], ["--threads", "1 to 512"]),
        (["-t", "1,two"], ["--threads", "1,two"]),
        (["-d", ""], ["--depth"]),
        (["-d", "-1"], ["--depth", "-1"]),
        (["-d", "0,500"], ["depth 500", "16 tokens", "512"]),
        (["-p", "0", "-n", "0"], ["--prompt", "0"]),
        (["-r", "0"], ["--repetitions"]),
        (["--batch", "0"], ["--batch"]),
        (["--kv-type", "q9"], ["--kv-type", "q9"]),
        (["-p", "many"], ["--prompt", "bench --help"]),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["bench", *SHORT, *arguments]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith("error: ")
    assert found.err.count("\n") == 1
    for word in words:
        assert word in found.err
