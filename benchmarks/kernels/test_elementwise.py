"""Ops on rows, of the widths of the 1.1 B shape."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from timed_op import ISAS, TimedOp


@pytest.mark.parametrize("rows", [1, 128])
@pytest.mark.parametrize("isa", ISAS)
def test_rms_norm(benchmark: BenchmarkFixture, isa: str, rows: int) -> None:
    op = TimedOp(isa, [2048], lambda g, v: g.rms_norm(v[0], "w", 1e-5), {"w": (2048,)})
    benchmark(op.run, rows)


@pytest.mark.parametrize("rows", [1, 128])
@pytest.mark.parametrize("isa", ISAS)
def test_silu_mul(benchmark: BenchmarkFixture, isa: str, rows: int) -> None:
    op = TimedOp(isa, [5632, 5632], lambda g, v: g.silu_mul(v[0], v[1]), {})
    benchmark(op.run, rows)


@pytest.mark.parametrize("rows", [1, 128])
@pytest.mark.parametrize("isa", ISAS)
def test_add(benchmark: BenchmarkFixture, isa: str, rows: int) -> None:
    """Little but the look-up of its inputs: what to take off the two above."""
    op = TimedOp(isa, [2048, 2048], lambda g, v: g.add(v[0], v[1]), {})
    benchmark(op.run, rows)
