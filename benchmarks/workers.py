"""The processes in which compare.py times runtimes: each waits for its turn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
LONGEST_ANSWER_S = 900.0
"""A process that takes longer is ended and counts as dead."""


class Worker:
    """A process that answers each line with one of JSON. Dies without harm: see `failure`.

    ready: what it said of itself once its model was loaded. failure: why it no longer answers.
    """

    def __init__(self, name: str, command: list[str], isa: str | None = None) -> None:
        """Starts it and waits until its model is loaded. Args: isa: forced on this runtime."""
        self.name = name
        self.failure: str | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        environment = {k: v for k, v in os.environ.items() if k != "PYLLAMA_RT_ISA"}
        if isa is not None:
            environment["PYLLAMA_RT_ISA"] = isa
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            env=environment,
        )  # fmt: skip
        self.ready: dict[str, Any] = self._answer() or {}

    def measure(self) -> dict[str, float] | None:
        """Lets it measure once. Returns: tokens per second of each kind, None if it is dead."""
        if self.failure is not None or self._process.stdin is None:
            return None
        try:
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()
        except OSError:
            self._fail()
            return None
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:
                self._fail()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()
        self._errors.close()

    def _answer(self) -> dict[str, Any] | None:
        if self._process.stdout is None:
            return None
        watch = threading.Timer(LONGEST_ANSWER_S, self._process.kill)
        watch.start()
        line = self._process.stdout.readline()
        watch.cancel()
        if not line:
            self._fail()
            return None
        found: dict[str, Any] = json.loads(line)
        return found

    def _fail(self) -> None:
        """Notes why the process has ended: its signal, or the last line that it wrote."""
        if self.failure is not None:
            return
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        if status < 0:
            self.failure = f"died of {signal.Signals(-status).name}"
        else:
            self.failure = lines[-1] if lines else f"ended with status {status}"
