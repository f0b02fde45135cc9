"""Row orders that tensors take on their way to GGUF, named in an architecture's TENSORS."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

RowOrder = NDArray[np.int64]
"""(n_rows,): which row of the checkpoint becomes row i of the file."""


def row_order(transform: str, n_rows: int, dims: Mapping[str, int]) -> RowOrder | None:
    """The order that `transform` asks for, None for the checkpoint's own.

    Args: n_rows: rows of a matrix or elements of a bias. dims: the architecture's sizes.
    """
    if not transform:
        return None
    return interleave(n_rows, dims[_HEADS[transform]])


_HEADS = {"interleave_q": "n_heads", "interleave_k": "n_kv_heads"}


def interleave(n_rows: int, n_heads: int) -> RowOrder:
    """Hugging Face rotates row j of a head with row j + head_dim/2; GGUF's llama 2j with 2j + 1."""
    halves = np.arange(n_rows, dtype=np.int64).reshape(n_heads, 2, -1)
    order: RowOrder = halves.swapaxes(1, 2).reshape(-1)
    return order
