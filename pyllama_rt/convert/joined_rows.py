"""One matrix out of pieces in several mapped files."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


class JoinedRows:
    """The rows of pieces that lie above or beside one another; a slice copies only its rows.

    Each piece is (n_rows, row_bytes), a view of mapped bytes.
    """

    def __init__(self, pieces: Sequence[Bytes], *, side_by_side: bool) -> None:
        """Args: side_by_side: every piece holds columns of all rows, not rows of all columns."""
        self._pieces = tuple(pieces)
        self._side_by_side = side_by_side
        self._ends = list(accumulate(len(piece) for piece in pieces))

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._pieces[0]) if self._side_by_side else self._ends[-1]

    def __getitem__(self, rows: slice) -> Bytes:
        """The rows of a slice with a start and a stop inside the matrix."""
        if self._side_by_side:
            return np.concatenate([piece[rows.start : rows.stop] for piece in self._pieces], axis=1)
        parts = []
        for piece, end in zip(self._pieces, self._ends, strict=True):
            first = end - len(piece)
            start, stop = max(rows.start, first), min(rows.stop, end)
            if start < stop:
                parts.append(piece[start - first : stop - first])
        return np.concatenate(parts)
