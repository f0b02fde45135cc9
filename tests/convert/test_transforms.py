"""The row order, against what it is for: equal attention scores under the other rotation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pyllama_rt.convert.transforms import interleave, row_order


def angles(head_dim: int, position: int) -> NDArray[np.float64]:
    return position / 10000.0 ** (np.arange(0, head_dim, 2) / head_dim)


def rotate_half(x: NDArray[np.float64], position: int) -> NDArray[np.float64]:
    """transformers: element j turns with j + head_dim/2."""
    a, b = np.split(x, 2)
    cos, sin = np.cos(angles(len(x), position)), np.sin(angles(len(x), position))
    return np.concatenate([a * cos - b * sin, b * cos + a * sin])


def rotate_pairs(x: NDArray[np.float64], position: int) -> NDArray[np.float64]:
    """GGUF's llama: element 2j turns with 2j + 1."""
    a, b = x[0::2], x[1::2]
    cos, sin = np.cos(angles(len(x), position)), np.sin(angles(len(x), position))
    return np.stack([a * cos - b * sin, b * cos + a * sin], axis=1).reshape(-1)


@pytest.mark.parametrize(("n_heads", "n_kv_heads", "head_dim"), [(4, 2, 8), (3, 3, 6), (8, 1, 2)])
def test_scores_do_not_change(n_heads: int, n_kv_heads: int, head_dim: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 16))
    wq = rng.standard_normal((n_heads * head_dim, 16))
    wk = rng.standard_normal((n_kv_heads * head_dim, 16))
    dims = {"n_heads": n_heads, "n_kv_heads": n_kv_heads}
    order_q = row_order("interleave_q", len(wq), dims)
    order_k = row_order("interleave_k", len(wk), dims)
    heads = [(w @ v).reshape(-1, head_dim) for w, v in ((wq, x), (wk, y))]
    moved = [
        (w[order] @ v).reshape(-1, head_dim) for w, order, v in ((wq, order_q, x), (wk, order_k, y))
    ]
    for head in range(n_heads):
        kv = head * n_kv_heads // n_heads
        theirs = rotate_half(heads[0][head], 7) @ rotate_half(heads[1][kv], 3)
        ours = rotate_pairs(moved[0][head], 7) @ rotate_pairs(moved[1][kv], 3)
        assert ours == pytest.approx(theirs)


def test_the_order_of_one_head() -> None:
    assert interleave(8, 1).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert row_order("", 8, {}) is None
