"""What an importance matrix says about each weight, in a few numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.quant.importance import ImportanceMatrix

INACTIVE = 1e-5
"""Columns whose mean square is at most this hardly do anything."""

TOP = 0.01
"""The share of the columns that `top_share` looks at."""

_LAYER = re.compile(r"blk\.(\d+)\.(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """One weight. Shares are from 0 to 1; columns are those of the experts that met a token.

    name: in the file. kind: the name without its layer. layer: None outside layers.
    n_rows: tokens, of all experts together. n_seen, n_mats: experts that met a token, and all.
    mean, largest: of the columns' mean squares. active: share of the columns above INACTIVE.
    evenness: entropy of the columns' shares in the sum over its largest possible value.
    top_share: of the sum, held by the largest TOP of the columns. similarity: cosine between the
    mean squares here and those of the same kind one layer before; None where there is none.
    """

    name: str
    kind: str
    layer: int | None
    n_rows: int
    n_seen: int
    n_mats: int
    mean: float
    largest: float
    active: float
    evenness: float
    top_share: float
    similarity: float | None


def importance_statistics(matrix: ImportanceMatrix) -> list[TensorStatistics]:
    """One row a weight, those of a kind together and by layer."""
    rows = [_statistics(matrix, name) for name in matrix.tensors]
    return sorted(rows, key=lambda row: (row.kind, -1 if row.layer is None else row.layer))


def _statistics(matrix: ImportanceMatrix, name: str) -> TensorStatistics:
    counts = matrix.tensors[name].counts
    columns = matrix.of(name)[counts > 0].astype(np.float64).ravel()
    match = _LAYER.fullmatch(name)
    layer = None if match is None else int(match[1][:9])
    kind = name if match is None else match[2]
    total = float(columns.sum())
    n_top = max(1, round(TOP * columns.size))
    top = float(np.sort(columns)[-n_top:].sum())
    return TensorStatistics(
        name=name,
        kind=kind,
        layer=layer,
        n_rows=int(counts.astype(np.float64).sum()),
        n_seen=int(np.count_nonzero(counts)),
        n_mats=len(counts),
        mean=total / max(columns.size, 1),
        largest=float(columns.max(initial=0.0)),
        active=float(np.count_nonzero(columns > INACTIVE)) / max(columns.size, 1),
        evenness=_evenness(columns, total),
        top_share=top / total if total > 0 else 0.0,
        similarity=None if layer is None else _similarity(matrix, name, f"blk.{layer - 1}.{kind}"),
    )


def _evenness(columns: NDArray[np.float64], total: float) -> float:
    if columns.size < 2 or total <= 0:
        return 0.0
    shares = columns[columns > 0] / total
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum() / np.log(columns.size))


def _similarity(matrix: ImportanceMatrix, name: str, before: str) -> float | None:
    if before not in matrix.tensors:
        return None
    a, b = (matrix.of(tensor).astype(np.float64) for tensor in (name, before))
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    if a.shape != b.shape or length == 0:
        return None
    return float((a * b).sum() / length)
