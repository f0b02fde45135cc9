"""Where the tests find data that is not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyllama_rt import env


def shared(relative: str) -> Path:
    """Path of `relative` in the shared data; skips the test, saying why, where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared"
    path = Path(os.environ.get(env.SHARED) or default) / "data" / relative
    if not path.exists():
        pytest.skip(f"needs shared data {relative} ({env.SHARED} names the folder over data/)")
    return path
