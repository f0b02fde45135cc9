"""Sums of products of the columns that enter the matrices of an observing program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from family_ops import one_expert_mlp
from numpy.typing import NDArray
from observing import ISAS, run_observing
from one_op import Floats, OneOp, one_linear

from pyllama_rt.config import LoadConfig
from pyllama_rt.errors import ConfigError

EXACT_ISAS = [isa for isa in ISAS if isa != "scalar"]
"""Scalar has no fused operation; rare ties are rounded otherwise."""


def moments(op: OneOp, isa: str = "", n_threads: int = 2, chunk: int = 0) -> Floats:
    """Those of the only input."""
    program, _ = run_observing(op, "moments", isa, n_threads, chunk)
    found = program.moments(0)
    assert found is not None
    assert len(program.inputs()) == 1
    return found


def products(x: Floats) -> NDArray[Any]:
    found = np.zeros((x.shape[1], 256))
    for begin in range(0, x.shape[1], 256):
        part = x[:, begin : begin + 256].astype(np.float64)
        found[begin : begin + 256, : part.shape[1]] = part.T @ part
    return found


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n_cols", [1, 15, 16, 40, 256, 257, 300, 512, 801])
def test_blocks_of_every_width(isa: str, n_cols: int) -> None:
    op = one_linear("f32", 37, 9, n_cols)
    found = moments(op, isa)
    wanted = products(op.stored["in0"][0])
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-5)
    assert np.array_equal(found == 0, wanted == 0)  # past the last column
    for begin in range(0, n_cols, 256):
        block = found[begin : begin + 256, : n_cols - begin]
        assert np.array_equal(block, block.T)


@pytest.mark.parametrize("kind", ["f32", "q4_k"])
@pytest.mark.parametrize("n_rows", [1, 127, 128, 129, 300])
def test_any_number_of_rows(kind: str, n_rows: int) -> None:
    op = one_linear(kind, n_rows, 9, 512)
    program, result = run_observing(op, "moments")
    assert np.array_equal(result, op.run(""))
    found = program.moments(0)
    assert found is not None
    wanted = products(op.stored["in0"][0])
    assert np.abs(found - wanted).max() < 1e-6 * wanted.max()
    ((_, sums, counts),) = program.tallies()
    assert counts.tolist() == [n_rows]
    np.testing.assert_allclose(found[np.arange(512), np.arange(512) % 256], sums[0], rtol=1e-5)


def test_threads_and_instruction_sets_change_no_bit() -> None:
    op = one_linear("f32", 150, 9, 300)
    wanted = moments(op, n_threads=1)
    for n_threads in (2, 3, 4, 5):
        assert np.array_equal(moments(op, n_threads=n_threads), wanted), n_threads
    for isa in EXACT_ISAS:
        assert np.array_equal(moments(op, isa), wanted), isa
    np.testing.assert_allclose(moments(op, "scalar"), wanted, rtol=1e-5, atol=1e-5)


def test_steps_of_whole_chunks_change_no_bit() -> None:
    op = one_linear("f32", 600, 9, 300)
    wanted = moments(op)
    for chunk in (128, 256, 384):
        assert np.array_equal(moments(op, chunk=chunk), wanted), chunk
    for chunk in (1, 7, 100):
        found = moments(op, chunk=chunk)
        assert np.abs(found - wanted).max() < 3e-6 * wanted.max()


def test_experts_keep_squares_only() -> None:
    op = one_expert_mlp("f32", 19)
    program, _ = run_observing(op, "moments")
    assert program.inputs() == [["router"], ["up"], ["down"]]
    router, up, down = (program.moments(i) for i in range(3))
    assert up is None
    assert down is None
    assert router is not None
    np.testing.assert_allclose(router, products(op.stored["in0"][0]), rtol=1e-5, atol=1e-5)


def test_only_if_asked_for() -> None:
    op = one_linear("f32", 2, 4, 16)
    program, _ = run_observing(op, "squares")
    assert program.moments(0) is None
    program, _ = run_observing(op, "")
    assert program.inputs() == []
    program, _ = run_observing(op, "moments")
    with pytest.raises(ConfigError, match="expected an input below 1, found 1"):
        program.moments(1)
    with pytest.raises(ConfigError, match="observe: expected squares or moments, found x"):
        run_observing(op, "x")
    with pytest.raises(ConfigError, match="observe: expected squares, moments, found 'x'"):
        LoadConfig(observe="x")
