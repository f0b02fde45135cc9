"""`ImportanceMatrix`: how strongly each column of each weight matrix is driven by real text.

A weight's error matters in proportion to the square of what it is multiplied with. The mean of
those squares, for every column of a matrix, tells a quantiser where to spend its precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.errors import ConfigError, NumericsError, ShapeError, did_you_mean, shown
from pyllama_rt.quant.importance_correlations import BLOCK, Correlations, merged

Floats = NDArray[np.float32]

_NO_DATA = np.float32(1)
"""Importance of every column of an expert that met no token: all alike."""


@dataclass(frozen=True, slots=True)
class InputSquares:
    """What entered one weight.

    sums: (n_mats, cols) f32, squares added over rows. counts: (n_mats,) f32, rows. A stack of
    experts has as many matrices. correlations: of one matrix's columns, where they are known;
    weights that read the same have the same array.
    """

    sums: Floats
    counts: Floats
    correlations: Correlations | None = None

    def __post_init__(self) -> None:
        """Raises: ShapeError for correlations of other columns."""
        found = self.correlations
        if found is None:
            return
        n_mats, n_cols = self.sums.shape
        if n_mats != 1 or found.shape != (n_cols, BLOCK) or found.dtype != np.float16:
            raise ShapeError(
                f"correlations: expected one matrix and {[n_cols, BLOCK]} f16, found {n_mats} and "
                f"{list(found.shape)} {found.dtype}"
            )


@dataclass(frozen=True, slots=True)
class ImportanceMatrix:
    """What entered the weights of a model while it read some texts.

    tensors: by GGUF name of the weight. datasets: names of the texts. chunk_count, chunk_size:
    windows and tokens of each; 0 where a file does not say. source: the file, for messages.
    """

    tensors: Mapping[str, InputSquares]
    datasets: tuple[str, ...] = ()
    chunk_count: int = 0
    chunk_size: int = 0
    source: str = "importance matrix"

    def of(self, name: str) -> Floats:
        """Mean squares (n_mats, cols) f32; 1 for the columns of experts that met no token.

        Raises: ConfigError if there is no such tensor.
        """
        found = self.tensors.get(name)
        if found is None:
            raise ConfigError(
                f"{self.source}: no importance of tensor {shown(name)}"
                f"{did_you_mean(name, self.tensors)}"
            )
        counts = found.counts[:, None]
        has_data = counts > 0
        return np.where(has_data, found.sums / np.where(has_data, counts, 1), _NO_DATA)

    def has_correlations(self, name: str) -> bool:
        """Whether `correlations` of a weight are known."""
        found = self.tensors.get(name)
        return found is not None and found.correlations is not None

    def correlations(self, name: str) -> Floats | None:
        """Cosines between a weight's columns (cols, 256) f32: in row j those of column j with the
        256 of its block, 0 past the last column. None where they are not known.

        They are rounded to halves, so that a block may have eigenvalues a little below 0.
        """
        found = self.tensors.get(name)
        if found is None or found.correlations is None:
            return None
        return found.correlations.astype(np.float32)

    def for_weight(self, name: str, shape: Sequence[int]) -> Floats | None:
        """`of` for a weight of a shape, (n_mats, shape[-1]); None if nothing is known of it.

        Some files keep the experts of a stack in one row.
        Args: shape: outermost dimension first.
        Raises: ConfigError if the sizes differ.
        """
        if name not in self.tensors:
            return None
        means, n_mats = self.of(name), math.prod(shape[:-2])
        if means.size != n_mats * shape[-1] or len(means) not in (1, n_mats):
            raise ConfigError(
                f"{self.source}: tensor {shown(name)}: expected {n_mats} x {shape[-1]} columns, as "
                f"the model has, found {len(means)} x {means.shape[1]}; the importance matrix "
                "belongs to another model"
            )
        return means.reshape(n_mats, shape[-1])


def merge(matrices: Sequence[ImportanceMatrix]) -> ImportanceMatrix:
    """One matrix of all texts: sums and rows are added, correlations weighed by the sums.

    A weight keeps correlations if all that have it know them. The windows are counted in the size
    of the first matrix that has one.
    Raises: ConfigError for no matrix, or where a tensor's sizes differ; NumericsError if a sum is
        beyond the range of a float.
    """
    if not matrices:
        raise ConfigError("merge: expected at least one importance matrix, found none")
    if len(matrices) == 1:
        return matrices[0]
    parts: dict[str, list[InputSquares]] = {}
    first: dict[str, str] = {}
    for matrix in matrices:
        for name, found in matrix.tensors.items():
            parts.setdefault(name, []).append(found)
            known = parts[name][0].sums.shape
            if known != found.sums.shape:
                raise ConfigError(
                    f"tensor {shown(name)}: expected one shape to merge, found {list(known)} in "
                    f"{first[name]} and {list(found.sums.shape)} in {matrix.source}; they belong "
                    "to different models"
                )
            first.setdefault(name, matrix.source)
    correlations = _Merged()
    size = next((matrix.chunk_size for matrix in matrices if matrix.chunk_size), 0)
    n_rows = sum(matrix.chunk_count * (matrix.chunk_size or size) for matrix in matrices)
    return ImportanceMatrix(
        {name: _joined(name, found, correlations) for name, found in parts.items()},
        tuple(name for matrix in matrices for name in matrix.datasets),
        n_rows // size if size else sum(matrix.chunk_count for matrix in matrices),
        size,
    )


class _Merged:
    """Merged correlations, made once for weights that share them."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, ...], Correlations] = {}

    def of(self, parts: Sequence[InputSquares]) -> Correlations | None:
        known = [part.correlations for part in parts if part.correlations is not None]
        if len(known) < len(parts):
            return None
        key = tuple(id(found) for found in known)
        if key not in self._made:
            self._made[key] = merged(known, [part.sums[0] for part in parts])
        return self._made[key]


def _joined(name: str, parts: Sequence[InputSquares], correlations: _Merged) -> InputSquares:
    if len(parts) == 1:
        return parts[0]
    sums, counts = parts[0].sums, parts[0].counts
    for part in parts[1:]:
        sums, counts = added(sums, part.sums, name), added(counts, part.counts, name)
    return InputSquares(sums, counts, correlations.of(parts))


def added(a: Floats, b: Floats, name: str) -> Floats:
    """a + b, rounded once. Raises: NumericsError naming the tensor if it is not finite."""
    return as_floats(a.astype(np.float64) + b, name)


def as_floats(values: NDArray[np.number[Any]], name: str) -> Floats:
    """The nearest floats. Raises: NumericsError naming the tensor if they are not finite."""
    with np.errstate(over="ignore"):
        floats = values.astype(np.float32)
    if not np.isfinite(floats).all():
        raise NumericsError(
            f"tensor {shown(name)}: a sum of squares is not finite or too large for a float"
        )
    return floats
