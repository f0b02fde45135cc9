"""Collects what the comparisons of families find."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from families import FAMILIES
from model_table import PATH, Found, text

Report = Callable[[str, str, float], None]
"""Takes a family, a column and a figure."""


@pytest.fixture(scope="session")
def found(request: pytest.FixtureRequest) -> Iterator[Found]:
    figures: Found = {name: {} for name in FAMILIES}
    yield figures
    if request.config.getoption("--write-model-table"):
        PATH.write_text(text(figures), encoding="utf-8")


@pytest.fixture
def report(found: Found) -> Report:
    """Notes a figure for docs/models.md."""

    def note(name: str, column: str, figure: float) -> None:
        found[name][column] = max(figure, found[name].get(column, 0.0))

    return note
