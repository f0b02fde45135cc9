"""Matrix products: every weight type on every instruction set, for generation and for prompts."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from timed_op import ISAS, TimedOp

from pyllama_rt.formats.tensor_types import WEIGHT_TYPES, tensor_type

K, WIDTH = 2048, 2048


@pytest.mark.parametrize("rows", [1, 128])
@pytest.mark.parametrize("kind", WEIGHT_TYPES)
@pytest.mark.parametrize("isa", ISAS)
def test_linear(benchmark: BenchmarkFixture, isa: str, kind: str, rows: int) -> None:
    op = TimedOp(isa, [K], lambda g, v: g.linear(v[0], "w", WIDTH), {"w": (WIDTH, K)}, kind)
    benchmark(op.run, rows)
    if benchmark.stats is not None:  # none with --benchmark-disable
        seconds = benchmark.stats.stats.median
        benchmark.extra_info["gmac_per_s"] = rows * K * WIDTH / seconds / 1e9
        benchmark.extra_info["gb_per_s"] = WIDTH * tensor_type(kind).row_bytes(K) / seconds / 1e9


@pytest.mark.parametrize("kind", ["q8_0", "q4_k"])
@pytest.mark.parametrize("isa", ISAS)
def test_quantize_rows(benchmark: BenchmarkFixture, isa: str, kind: str) -> None:
    """The product is with a single weight row, so that rounding the activations is most of it."""
    op = TimedOp(isa, [5632], lambda g, v: g.linear(v[0], "w", 1), {"w": (1, 5632)}, kind)
    benchmark(op.run, 128)
