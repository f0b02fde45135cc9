"""What is said about an importance matrix."""

from __future__ import annotations

import numpy as np
import pytest

from pyllama_rt.evaluate.importance_statistics import importance_statistics
from pyllama_rt.quant.importance import ImportanceMatrix, InputSquares


def squares(rows: list[list[float]], *counts: int) -> InputSquares:
    return InputSquares(np.array(rows, np.float32), np.array(counts, np.float32))


def test_numbers_of_a_matrix() -> None:
    one = [0.0] * 200
    one[:4] = [80.0, 40.0, 40.0, 40.0]
    matrix = ImportanceMatrix({"blk.2.attn_q.weight": squares([one], 20)})
    (row,) = importance_statistics(matrix)
    assert (row.kind, row.layer, row.n_rows, row.n_mats) == ("attn_q.weight", 2, 20, 1)
    assert row.mean == pytest.approx(10 / 200)
    assert row.largest == 4
    assert row.active == pytest.approx(4 / 200)
    assert row.top_share == pytest.approx(6 / 10)  # of two columns
    shares = np.array([0.4, 0.2, 0.2, 0.2])
    assert row.evenness == pytest.approx(-(shares * np.log(shares)).sum() / np.log(200))
    assert row.similarity is None


def test_order_and_similarity() -> None:
    matrix = ImportanceMatrix(
        {
            "output.weight": squares([[1, 1]], 1),
            "blk.10.attn_q.weight": squares([[3, 4]], 1),
            "blk.9.attn_q.weight": squares([[8, 6]], 2),
            "blk.9.attn_k.weight": squares([[1, 1]], 1),
            "blk.10.attn_k.weight": squares([[1, 1, 1]], 1),
            "blk.11.attn_k.weight": squares([[0, 0, 0]], 1),
        }
    )
    rows = importance_statistics(matrix)
    assert [(row.kind, row.layer) for row in rows] == [
        ("attn_k.weight", 9),
        ("attn_k.weight", 10),
        ("attn_k.weight", 11),
        ("attn_q.weight", 9),
        ("attn_q.weight", 10),
        ("output.weight", None),
    ]
    assert [row.similarity for row in rows] == [None, None, None, None, pytest.approx(0.96), None]
    assert rows[-1].evenness == pytest.approx(1)
    assert (rows[2].evenness, rows[2].top_share, rows[2].active) == (0, 0, 0)


def test_experts_without_tokens_do_not_count() -> None:
    stack = squares([[2, 6], [0, 0], [0, 0]], 2, 0, 0)
    (row,) = importance_statistics(ImportanceMatrix({"x": stack}))
    assert (row.n_seen, row.n_mats, row.n_rows) == (1, 3, 2)
    assert (row.mean, row.largest, row.active) == (2, 3, 1)
    none = squares([[0, 0]], 0)
    (row,) = importance_statistics(ImportanceMatrix({"x": none}))
    assert (row.n_seen, row.mean, row.largest, row.active) == (0, 0, 0, 0)
