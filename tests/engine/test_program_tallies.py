"""What an observing program counts of the rows that enter its matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from family_ops import one_expert_mlp
from numpy.typing import NDArray
from observing import ISAS, run_observing
from one_op import Floats, OneOp, one_linear

from pyllama_rt import _core
from pyllama_rt.errors import NumericsError
from pyllama_rt.graph.builder import GraphBuilder, Value

Tallies = dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]


def observe(op: OneOp, isa: str = "", n_threads: int = 2, chunk: int = 0) -> tuple[Floats, Tallies]:
    """The rows of an observing program, and its tallies."""
    program, result = run_observing(op, "squares", isa, n_threads, chunk)
    return result, {name: (s, n) for name, s, n in program.tallies()}


def by_expert(x: Floats, chosen: NDArray[np.int64], n_experts: int) -> NDArray[np.float64]:
    """Squares of x (rows, slots, columns) added up by the expert that each slot chose."""
    sums = np.zeros((n_experts, x.shape[-1]))
    for row, experts in zip(x.astype(np.float64) ** 2, chosen, strict=True):
        for slot, expert in enumerate(experts):
            sums[expert] += row[slot]
    return sums


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8_0", "q4_k"])
def test_a_linear(isa: str, kind: str) -> None:
    op = one_linear(kind, 37, 9, 512)
    x = op.stored["in0"][0].astype(np.float64)
    result, tallies = observe(op, isa)
    assert np.array_equal(result, op.run(isa))
    assert list(tallies) == ["w"]
    sums, counts = tallies["w"]
    assert counts.tolist() == [37]
    np.testing.assert_allclose(sums, (x**2).sum(axis=0)[None], rtol=1e-14)


@pytest.mark.parametrize("kind", ["f32", "q4_k"])
def test_experts(kind: str) -> None:
    op = one_expert_mlp(kind, 19)

    def part(take: Callable[[GraphBuilder, Value, Value], Value], *names: str) -> Floats:
        """The rows of a value in the middle of the graph."""

        def build(g: GraphBuilder, v: list[Value]) -> Value:
            return take(g, v[0], g.topk_route(g.linear(v[0], "router", 7), 3))

        weights: dict[str, Any] = {name: op.stored[name] for name in names}
        return OneOp([op.stored["in0"][0]], build, weights).run("")

    result, tallies = observe(op)
    assert np.array_equal(result, op.run(""))
    x = op.stored["in0"][0]
    chosen = part(lambda _g, _x, route: route, "router")[:, :3].astype(np.int64)
    middle = part(
        lambda g, v, route: g.expert_linear(v, route, "up", n_experts=7, width=256, shared=True),
        "router",
        "up",
    )
    wanted = np.bincount(chosen.ravel(), minlength=7)
    assert list(tallies) == ["router", "up", "down"]
    assert tallies["router"][1].tolist() == [19]
    np.testing.assert_allclose(tallies["router"][0][0], (x.astype(float) ** 2).sum(0), rtol=1e-14)
    shared = np.repeat(x[:, None], 3, axis=1)
    for name, entered in (("up", shared), ("down", middle.reshape(19, 3, 256))):
        sums, counts = tallies[name]
        assert np.array_equal(counts, wanted), name
        np.testing.assert_allclose(sums, by_expert(entered, chosen, 7), rtol=1e-14)


def test_threads_chunks_and_instruction_sets_change_no_bit() -> None:
    op = one_expert_mlp("q8_0", 19)
    _, wanted = observe(op, n_threads=1)
    for n_threads in (2, 3, 4, 5):
        for chunk in (0, 1, 7):
            _, found = observe(op, n_threads=n_threads, chunk=chunk)
            for name, (sums, counts) in found.items():
                assert np.array_equal(sums, wanted[name][0]), (name, n_threads, chunk)
                assert np.array_equal(counts, wanted[name][1]), (name, n_threads, chunk)
    for isa in ISAS:
        _, found = observe(op, isa)
        assert np.array_equal(found["up"][0], wanted["up"][0]), isa


def test_an_ordinary_program_counts_nothing() -> None:
    op = one_linear("f32", 2, 4, 16)
    rows = [(*tensor[:4], memoryview(tensor[4]), 0) for tensor in op.tensors()]
    assert _core.Program(op.graph.to_text(), rows).tallies() == []


def test_a_step_that_fails_shows_what_spoilt_it() -> None:
    op = one_linear("f32", 2, 4, 16)
    x = op.stored["in0"][0].copy()
    x[1, 3] = np.inf
    rows = [(*tensor[:4], memoryview(tensor[4]), 0) for tensor in op.tensors()]
    rows[0] = ("in0", "f32", 2, 16, memoryview(x.tobytes()), 0)
    program = _core.Program(op.graph.to_text(), rows, observe="squares")
    cache = _core.KvCache(program, "f32", 64)
    with pytest.raises(NumericsError):
        program.step(cache, np.arange(2), np.full(2, cache.create()), np.ones(2, np.uint8), 1)
    ((_, sums, _),) = program.tallies()
    assert np.flatnonzero(~np.isfinite(sums[0])).tolist() == [3]
