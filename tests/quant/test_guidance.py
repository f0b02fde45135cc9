"""Quantising by what is known of the inputs: importance, correlations, and the length of rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pyllama_rt import _core
from pyllama_rt.errors import ConfigError, ShapeError
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, WEIGHT_TYPES
from pyllama_rt.quant import dequantize, quantize
from pyllama_rt.quant.guidance import Guidance, guidance_for
from pyllama_rt.quant.importance import ImportanceMatrix, InputSquares

F32 = NDArray[np.float32]

SEARCHED = [n for n in WEIGHT_TYPES if TENSOR_TYPES[n].is_quantized and n != "q8_0"]
"""Q8_0 is written by a rule that all programs share."""

N_ROWS, N_COLS = 48, 512


def weights(seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal((N_ROWS, N_COLS)).astype(np.float32)


def inputs(seed: int = 1) -> F32:
    """(rows, columns) that go together: a few causes behind many columns, of unequal size."""
    rng = np.random.default_rng(seed)
    causes = rng.standard_normal((2000, 40)) @ rng.standard_normal((40, N_COLS))
    sizes = np.exp(rng.standard_normal(N_COLS))
    return ((causes / 6 + rng.standard_normal((2000, N_COLS))) * sizes).astype(np.float32)


def known(x: F32, *, feedback: bool = True) -> Guidance:
    """Guidance of the columns of `x`."""
    moments = (x.T @ x) / len(x)
    squares = np.ascontiguousarray(moments.diagonal())
    if not feedback:
        return Guidance(squares)
    cosines = moments / np.sqrt(np.outer(squares, squares))
    blocks = [cosines[i : i + 256, i : i + 256] for i in range(0, N_COLS, 256)]
    return Guidance(squares, _core.Feedback(squares, np.concatenate(blocks), 1))


def output_error(w: F32, name: str, x: F32, guidance: Guidance | None) -> float:
    """Relative squared error of w x."""
    rounded = dequantize(quantize(w, name, guidance=guidance), name, w.shape)
    change, true = x @ (rounded - w).T, x @ w.T
    return float((change**2).sum() / (true**2).sum())


@pytest.mark.parametrize("name", SEARCHED)
def test_outputs_gain_from_importance_and_more_from_correlations(name: str) -> None:
    w, x = weights(), inputs()
    plain = output_error(w, name, x, None)
    by_squares = output_error(w, name, x, known(x, feedback=False))
    by_all = output_error(w, name, x, known(x))
    assert by_squares < 0.97 * plain
    assert by_all < 0.8 * by_squares


@pytest.mark.parametrize("name", [name for name in SEARCHED if name != "q6_k"])
def test_rows_keep_four_tenths_of_what_rounding_takes(name: str) -> None:
    """The best scale leaves a row shorter by its relative error.

    Q6_K does not follow that: its rows lose 1.1 times an error of 0.0003; why is not known.
    """
    w = weights()
    rounded = dequantize(quantize(w, name), name, w.shape)
    length = float((w * w).sum())
    along = float((w * rounded).sum()) / length
    error = float(((w - rounded) ** 2).sum()) / length
    assert (along - (1 - error)) / error == pytest.approx(0.4, abs=0.05)


def test_inputs_that_do_not_go_together_change_no_code() -> None:
    w, x = weights(), inputs()
    squares = known(x, feedback=False).importance
    assert squares is not None
    unrelated = np.tile(np.eye(256, dtype=np.float32), (2, 1))
    feedback = _core.Feedback(squares, unrelated, 1)
    with_it = quantize(w, "q4_0", guidance=Guidance(squares, feedback)).reshape(-1, 18)
    without = quantize(w, "q4_0", guidance=Guidance(squares)).reshape(-1, 18)
    assert np.array_equal(with_it[:, 2:], without[:, 2:])


def test_equal_importance_of_any_size_gives_the_same_file() -> None:
    w = weights()
    files = {
        quantize(w, "q3_k", guidance=Guidance(np.full(N_COLS, size, np.float32))).tobytes()
        for size in (1e-20, 1.0, 1e20)
    }
    assert len(files) == 1


def test_columns_that_never_fired_and_all_zeros_are_taken() -> None:
    w = weights()
    some = np.ones(N_COLS, np.float32)
    some[::3] = 0
    for squares in (some, np.zeros(N_COLS, np.float32)):
        eye = np.tile(np.eye(256, dtype=np.float32), (2, 1))
        for feedback in (None, _core.Feedback(squares, eye, 1)):
            blocks = quantize(w, "q4_k", guidance=Guidance(squares, feedback))
            rounded = dequantize(blocks, "q4_k", w.shape)
            assert float(((rounded - w) ** 2).mean()) < 0.02


def test_threads_do_not_change_bytes() -> None:
    w, x = weights(), inputs()
    guidance = known(x)
    files = {quantize(w, "q2_k", guidance=guidance, n_threads=n).tobytes() for n in (1, 2, 5)}
    assert len(files) == 1


def test_guidance_of_other_columns_is_refused() -> None:
    w = weights()
    short = np.ones(256, np.float32)
    with pytest.raises(ShapeError, match="importance of 512 columns"):
        quantize(w, "q4_0", guidance=Guidance(short))
    feedback = _core.Feedback(short, np.eye(256, dtype=np.float32), 1)
    with pytest.raises(ShapeError, match="feedback of 512 columns"):
        quantize(w, "q4_0", guidance=Guidance(None, feedback))
    with pytest.raises(ShapeError, match="correlations"):
        _core.Feedback(short, np.ones((256, 128), np.float32), 1)


def test_a_stack_has_guidance_for_each_matrix() -> None:
    sums = np.arange(1, 1 + 3 * 64, dtype=np.float32).reshape(3, 64)
    matrix = ImportanceMatrix({"x.weight": InputSquares(sums, np.full(3, 2, np.float32))})
    found = guidance_for(matrix, "x.weight", (3, 8, 64))
    for i, part in enumerate(found):
        assert part.importance is not None
        assert np.array_equal(part.importance, sums[i] / 2)
    assert guidance_for(matrix, "y.weight", (3, 8, 64)) == ()
    with pytest.raises(ConfigError, match="another model"):
        guidance_for(matrix, "x.weight", (3, 8, 32))
