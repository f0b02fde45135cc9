"""Attention of a row, and of a chunk of a prompt, at several depths; heads of the 1.1 B shape."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from timed_op import ISAS, TimedOp

from pyllama_rt.graph.builder import GraphBuilder, Value

N_HEADS, N_KV_HEADS, HEAD_DIM = 32, 4, 64
CHUNK = 512


def attention(g: GraphBuilder, v: list[Value]) -> Value:
    return g.attention(
        v[0], v[1], v[2],
        n_heads=N_HEADS, n_kv_heads=N_KV_HEADS, head_dim=HEAD_DIM, scale=HEAD_DIM**-0.5,
    )  # fmt: skip


@pytest.mark.parametrize(("rows", "depth"), [(1, 0), (1, 1024), (1, 4096), (128, 0), (128, 1024)])
@pytest.mark.parametrize("isa", ISAS)
def test_attention(benchmark: BenchmarkFixture, isa: str, rows: int, depth: int) -> None:
    widths = [N_HEADS * HEAD_DIM, N_KV_HEADS * HEAD_DIM, N_KV_HEADS * HEAD_DIM]
    op = TimedOp(isa, widths, attention, {})
    for begin in range(0, depth, CHUNK):
        op.run(CHUNK, begin)
    benchmark(op.run, rows, depth)
