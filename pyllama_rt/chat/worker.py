"""The parent's side of the template sandbox: starts it, asks it, kills it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path

from pyllama_rt.errors import ConfigError, FormatError, PyllamaRtError, ResourceError, shown

START_SECONDS = 60.0
"""Wall clock for starting Python and Jinja on a slow or busy machine."""

RENDER_SECONDS = 10.0
"""Wall clock for one rendering; the process itself stops at one second of CPU time."""

_END_SECONDS = 5.0
_MAX_REPLY_BYTES = 64 << 20
_SCRIPT = Path(__file__).with_name("sandbox.py")
_LIMITS = {
    "memory": "needs more than 256 MiB of memory",
    "output": "gives more than 4 MiB of text",
    "depth": "is nested too deeply",
}


class TemplateWorker:
    """A process that renders one template, kept for the next rendering.

    Safe to call from several threads, one at a time; it is ended with this object or the program.
    """

    def __init__(self, source: str, name: str) -> None:
        """Starts nothing yet. `name` stands for the template in messages."""
        self._source = source
        self._name = name
        self._lock = threading.Lock()
        self._owner = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[..., TemplateWorker] | None = None

    def render(self, variables: dict[str, object]) -> str:
        """The template's text for `variables`, which JSON must be able to hold.

        Raises:
            FormatError if the template is wrong or costs too much; ConfigError if the template
            refuses the messages; ResourceError if no process starts.
        """
        request = json.dumps(variables).encode()
        with self._lock:
            process = self._process
            if process is None or self._owner != os.getpid():
                process = self._start()
            return self._ask(process, request, RENDER_SECONDS)

    def close(self) -> None:
        """Ends the process; the next rendering starts another."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[bytes]:
        self._owner = os.getpid()
        try:
            # Isolated: the current folder and PYTHON* variables must not change what runs there.
            process = subprocess.Popen(
                [sys.executable, "-I", str(_SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise ResourceError(
                f"{self._name}: cannot start Python for the chat template: {error.strerror}"
            ) from error
        self._process = process
        self._end = weakref.finalize(self, _end_process, process, self._owner)
        setup = {"path": list(map(str, sys.path)), "source": self._source}
        try:
            self._ask(process, json.dumps(setup).encode(), START_SECONDS)
        except PyllamaRtError:
            self._stop()
            raise
        return process

    def _ask(self, process: subprocess.Popen[bytes], request: bytes, seconds: float) -> str:
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            line = _exchange(process, request)
        except BaseException:
            # Interrupted: the answer still to come must not be taken for the next one.
            self._stop()
            raise
        finally:
            timer.cancel()
        if not line.endswith(b"\n"):
            # A process that closed its end is ending; how it ends is the message.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0 if line else _END_SECONDS)
            self._stop()
            raise FormatError(
                f"{self._name}: the chat template {_why_ended(process, late.is_set())}; "
                "use another one"
            )
        reply = json.loads(line)
        if "text" in reply:
            return str(reply["text"])
        if reply["error"] != "raised":
            self._stop()
        raise self._error_of(reply)

    def _error_of(self, reply: dict[str, object]) -> PyllamaRtError:
        kind, line = str(reply["error"]), reply["line"]
        where = f"{self._name}: chat template" + (f" line {line}" if line else "")
        message = " ".join(str(reply["message"]).split())
        if kind == "raised":
            return ConfigError(f"{where} refuses the messages: {shown(message, 200)}")
        if kind in _LIMITS:
            return FormatError(f"{where} {_LIMITS[kind]}; use another one")
        what = {"syntax": "is not valid Jinja", "security": "does what is forbidden"}
        return FormatError(f"{where} {what.get(kind, 'fails')}: {shown(message, 200)}")

    def _stop(self) -> None:
        if self._end is not None and self._owner == os.getpid():
            self._end()
        self._process = self._end = None


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        return b""
    try:
        process.stdin.write(request + b"\n")
        process.stdin.flush()
        return process.stdout.readline(_MAX_REPLY_BYTES)
    except OSError:
        return b""


def _why_ended(process: subprocess.Popen[bytes], late: bool) -> str:
    if late:
        return "was stopped, because it took too long"
    if sys.platform != "win32" and process.returncode == -signal.SIGPROF:
        return "takes more than 1 s of CPU time"
    return f"ended its process (code {process.returncode})"


def _end_process(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() == owner:
        process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            # Closing flushes what a dead process will never read.
            with contextlib.suppress(OSError):
                pipe.close()
    if os.getpid() == owner:
        process.wait()
