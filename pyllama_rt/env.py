"""The environment variables that this library reads, all of them, for debugging only."""

from __future__ import annotations

import os

ISA = "PYLLAMA_RT_ISA"
"""Forces one instruction set by name (`pyllama-rt doctor` lists the choices)."""

SHARED = "PYLLAMA_RT_SHARED"
"""Where the tests look for the shared data; by default `../shared` beside the checkout."""


def forced_isa() -> str | None:
    """The instruction set named in the environment, or None."""
    return os.environ.get(ISA) or None
