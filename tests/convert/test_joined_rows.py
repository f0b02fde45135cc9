"""Matrices out of pieces, any rows at a time."""

from __future__ import annotations

import numpy as np
import pytest

from pyllama_rt.convert.joined_rows import JoinedRows

WHOLE = np.arange(7 * 12, dtype=np.uint8).reshape(7, 12)


@pytest.mark.parametrize("side_by_side", [False, True])
def test_every_slice_is_that_of_the_whole(side_by_side: bool) -> None:
    pieces = np.split(WHOLE, [2, 3], axis=1 if side_by_side else 0)
    joined = JoinedRows(pieces, side_by_side=side_by_side)
    assert len(joined) == 7
    for start in range(7):
        for stop in range(start + 1, 8):
            assert np.array_equal(joined[start:stop], WHOLE[start:stop])
