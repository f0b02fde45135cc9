"""What happens to tensors on their way to GGUF, named in an architecture's table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

RowOrder = NDArray[np.int64]
"""(n_rows,): which row of the checkpoint becomes row i of the file."""

TRANSPOSE = "transpose"
"""The checkpoint holds the matrix transposed."""

_HEADS = {"interleave_q": "n_heads", "interleave_k": "n_kv_heads"}
_ADDED = {"plus_one": 1.0}


def row_order(transform: str, n_rows: int, sizes: Mapping[str, int]) -> RowOrder | None:
    """The order that `transform` asks for, None for the checkpoint's own.

    Args: n_rows: rows of a matrix or elements of a bias. sizes: those of the layer.
    """
    heads = _HEADS.get(transform)
    return None if heads is None else interleave(n_rows, sizes[heads])


def added(transform: str) -> float:
    """What is added to every element: checkpoints of some families hold a norm's weight less 1."""
    return _ADDED.get(transform, 0.0)


def interleave(n_rows: int, n_heads: int) -> RowOrder:
    """Hugging Face rotates row j of a head with row j + head_dim/2; GGUF's llama 2j with 2j + 1."""
    halves = np.arange(n_rows, dtype=np.int64).reshape(n_heads, 2, -1)
    order: RowOrder = halves.swapaxes(1, 2).reshape(-1)
    return order
