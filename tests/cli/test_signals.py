"""Signals that end a program: no half-written file stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command_line import COMMAND, FOLDER
from tiny_llama import tiny_config, write_tiny_llama

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_nothing_is_left_behind(name: str, tmp_path: Path) -> None:
    number = signal.Signals[name]
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip(f"{name} is ignored here, and so it is in what is started")
    # Large enough that the signal comes before the end: q2_k takes seconds for it.
    source = write_tiny_llama(tmp_path / "in.gguf", "f16", config=tiny_config(1024, 4)).path
    out = tmp_path / "out"
    out.mkdir()
    with subprocess.Popen(
        [*COMMAND, "quantize", source, out / "out.gguf", "q2_k", "--threads", "1"],
        cwd=FOLDER, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        while not list(out.iterdir()):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(number)
        errors = process.stderr.read()
    assert process.returncode == 128 + number
    assert errors == b""
    assert not list(out.iterdir())
