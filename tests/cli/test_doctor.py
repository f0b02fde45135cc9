"""`pyllama-rt doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import call

from pyllama_rt import __version__
from pyllama_rt.cli import doctor as doctor_module
from pyllama_rt.cli.app import run_command


def test_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["version"] == __version__
    assert report["problems"] == []
    assert sum(isa["selected"] for isa in report["instruction_sets"]) == 1
    assert {"name": "scalar", "supported": True}.items() <= report["instruction_sets"][-1].items()
    assert 1 <= report["threads"]["default"] <= report["threads"]["allowed_processors"]
    assert report["libraries"]["numpy"]
    assert report["demo_model"]["bytes"] <= 8_000_000
    assert report["demo_model"]["says"]
    assert run_command(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "*" in text
    assert "two tokens" in text


def test_a_misspelt_instruction_set_is_a_problem() -> None:
    done = call("doctor", "--json", environment={"PYLLAMA_RT_ISA": "avx9"})
    assert done.returncode == 2
    report = json.loads(done.stdout)
    assert report["instruction_sets"] is None
    assert "avx9" in report["problems"][0]
    assert done.stderr.decode().count("\n") == 1


def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor_module, "DEMO_MODEL", tmp_path / "gone.gguf")
    monkeypatch.setattr(doctor_module, "_LIBRARIES", ("numpy", "no-such-library"))
    assert run_command(["doctor"]) == 2
    found = capsys.readouterr()
    assert "no-such-library MISSING" in found.out
    assert "gone.gguf" in found.err
