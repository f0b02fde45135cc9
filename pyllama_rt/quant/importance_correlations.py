"""How the columns that enter a matrix go together: cosines within blocks of 256 columns.

Rounding one weight may be made good by how its neighbours are rounded, as far as what they are
multiplied with rises and falls together. r_jk = E[x_j x_k] / sqrt(E[x_j²] E[x_k²]), not centred,
because a matrix multiplies what is there. A column that never fired goes with nothing but itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.errors import FormatError, shown

BLOCK = 256
"""Columns of a block; the last of a matrix may be shorter."""

Correlations = NDArray[np.float16]
"""(cols, BLOCK): a row for each column, with the columns of its block, 0 past the last one."""

_TOLERANCE = 1 / 256
"""By which stored numbers may miss what cosines are: they are rounded, but not by this."""

_TINY = float(np.finfo(np.float32).tiny)
"""Sums of squares below have lost their digits in float."""


def from_products(products: NDArray[np.float32]) -> Correlations:
    """Cosines from sums of products (cols, BLOCK) over rows, the squares among them."""
    found = np.zeros(products.shape, np.float16)
    for part in blocks(len(products)):
        n = part.stop - part.start
        found[part, :n] = _cosines(products[part, :n].astype(np.float64))
    return found


def merged(parts: Sequence[Correlations], sums: Sequence[NDArray[np.floating]]) -> Correlations:
    """Cosines over all texts. sums: (cols,) of squares, for each of the parts."""
    found = np.zeros(parts[0].shape, np.float16)
    for part in blocks(len(found)):
        n = part.stop - part.start
        products = np.zeros((n, n))
        for cosines, squares in zip(parts, sums, strict=True):
            lengths = np.sqrt(squares[part].astype(np.float64))
            products += cosines[part, :n] * np.multiply.outer(lengths, lengths)
        found[part, :n] = _cosines(products)
    return found


def blocks(n_cols: int) -> Iterator[slice]:
    """The columns of each block."""
    for begin in range(0, n_cols, BLOCK):
        yield slice(begin, min(begin + BLOCK, n_cols))


def check_correlations(path: object, name: str, found: Correlations) -> None:
    """Raises: FormatError for numbers that are no cosines. name: of the tensor in the file."""
    for part in blocks(len(found)):
        n = part.stop - part.start
        cosines = found[part, :n].astype(np.float32)
        with np.errstate(invalid="ignore"):  # infinities, refused below
            off = np.maximum(np.abs(cosines - cosines.T), np.abs(cosines) - 1)
        np.fill_diagonal(off, np.abs(cosines.diagonal() - 1))
        wrong = np.zeros((n, BLOCK), bool)
        wrong[:, :n] = ~(off <= _TOLERANCE)  # also what is not finite
        wrong[:, n:] = found[part, n:] != 0
        if wrong.any():
            row, col = (int(i[0]) for i in np.nonzero(wrong))
            raise FormatError.at(
                path,
                f"tensor {shown(name)}",
                expected="cosines of columns: from -1 to 1, alike in both orders, 1 for a column "
                "with itself, 0 past the last",
                found=f"{found[part][row, col]} at {[part.start + row, col]}; make the importance "
                "matrix anew",
            )


def _cosines(products: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = products.diagonal()
    fired = squares >= _TINY
    scales = np.where(fired, 1 / np.sqrt(np.where(fired, squares, 1)), 0)
    # One product of scales, so that both orders are rounded alike.
    cosines = np.clip(products * np.multiply.outer(scales, scales), -1, 1)
    np.fill_diagonal(cosines, 1)
    return cosines
