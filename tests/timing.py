"""Where a test that measures time may run."""

from __future__ import annotations

import sys

import pytest


def untraced() -> None:
    """Skips the test under a tracer (coverage, a debugger), which slows Python down a lot."""
    if sys.gettrace() is not None:
        pytest.skip("times under a tracer say nothing")
