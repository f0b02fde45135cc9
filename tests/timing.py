"""How tests measure time: the processor's, the least of several runs, and not under a tracer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytest


def untraced() -> None:
    """Skips the test under a tracer (coverage, a debugger), which slows Python down a lot."""
    if sys.gettrace() is not None:
        pytest.skip("times under a tracer say nothing")


def cpu_s(call: Callable[[], object], times: int = 5) -> float:
    """Processor seconds of `call`, the least of several runs: a busy machine only adds."""
    runs = []
    for _ in range(times):
        start = time.process_time()
        call()
        runs.append(time.process_time() - start)
    return min(runs)
