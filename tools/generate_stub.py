"""Writes pyllama_rt/_core.pyi, the types of the compiled extension, from the installed extension.

usage: generate_stub.py [--check]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from generated_file import ROOT, write_or_check

TARGET = "pyllama_rt/_core.pyi"
HEADER = "# Generated from the extension by tools/generate_stub.py; do not edit.\n"


def stub_text() -> str:
    """What pybind11-stubgen says of the extension, formatted.

    It runs in an empty folder, so that the package it imports is the installed one.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pybind11_stubgen", "pyllama_rt._core", "-o", folder]
        subprocess.run([*command, "--exit-code"], cwd=folder, check=True)
        text = (Path(folder) / TARGET).read_text(encoding="utf-8")
    formatter = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "_core.pyi", "-"]
    formatted = subprocess.run(
        formatter, cwd=ROOT, input=HEADER + text, capture_output=True, text=True, check=True
    )
    return formatted.stdout


if __name__ == "__main__":
    sys.exit(write_or_check(TARGET, stub_text()))
