"""Options that every test folder shares."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-rounds",
        type=int,
        default=1,
        metavar="N",
        help="repeat every fuzz test N times with further seeds (1 is what CI runs)",
    )

    parser.addoption(
        "--write-model-table",
        action="store_true",
        help="write docs/models.md from what the comparisons of models find",
    )


@pytest.fixture
def fuzz_rounds(request: pytest.FixtureRequest) -> int:
    rounds: int = request.config.getoption("--fuzz-rounds")
    return rounds
