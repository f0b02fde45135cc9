"""The command line as tests call it: in this process where that will do, in its own otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

COMMAND = [sys.executable, "-m", "pyllama_rt"]
FOLDER = tempfile.gettempdir()
"""Where processes start: in the checkout, `-m` would find the source and not the package."""


def call(
    *arguments: str | bytes | Path,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command line to its end in a process of its own."""
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        cwd=FOLDER,
        env={**os.environ, **(environment or {})},
        timeout=120,
        check=False,
    )


def check_refused(done: subprocess.CompletedProcess[bytes], *words: str) -> None:
    """Exit status 2, nothing on stdout, and one line on stderr that has all the words."""
    text = done.stderr.decode()
    assert done.returncode == 2, text
    assert done.stdout == b""
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    for word in words:
        assert word in text
