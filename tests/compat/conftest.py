"""One demo model for all tests of the facade."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyllama_rt import Llama
from pyllama_rt.cli.demo import DEMO_MODEL


@pytest.fixture(scope="module")
def llm() -> Iterator[Llama]:
    with Llama(DEMO_MODEL, seed=1, verbose=False) as llama:
        yield llama
