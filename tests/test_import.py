"""Contract C12: importing the package is light."""

from __future__ import annotations

import subprocess
import sys

import pytest
from command_line import FOLDER

import pyllama_rt

_HEAVY = (
    "numpy", "sentencepiece", "tokenizers", "jinja2", "safetensors", "typer", "rich",
    "pyllama_rt._core",
)  # fmt: skip


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_import_loads_no_library() -> None:
    loaded = run_python("import pyllama_rt, sys; print(*sys.modules)").split()
    assert [name for name in _HEAVY if name in loaded] == []


def test_import_is_fast() -> None:
    code = "import time; a = time.perf_counter(); import pyllama_rt; print(time.perf_counter() - a)"
    seconds = min(float(run_python(code)) for _ in range(5))
    print(f"\nimport pyllama_rt takes {seconds * 1e3:.0f} ms")
    assert seconds < 0.15


def test_help_loads_no_engine() -> None:
    code = (
        "import sys\nfrom pyllama_rt.cli.app import run_command\nrun_command(['--help'])\n"
        "print(*sys.modules)"
    )
    loaded = run_python(code).split()
    assert "typer" in loaded
    assert "numpy" not in loaded
    assert "pyllama_rt._core" not in loaded


def test_public_names() -> None:
    for name in pyllama_rt.__all__:
        assert getattr(pyllama_rt, name) is not None
    with pytest.raises(AttributeError, match="Lama"):
        getattr(pyllama_rt, "Lama")  # noqa: B009
