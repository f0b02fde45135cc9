"""Products of two narrow matrices, and the tensors that they are added to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.convert.lazy_tensor import LazyTensor
from pyllama_rt.convert.transforms import RowOrder
from pyllama_rt.errors import NumericsError
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, TensorType
from pyllama_rt.quant import quantize

F32 = TENSOR_TYPES["f32"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Factor:
    """One matrix of a product, as stored or with its last two axes swapped."""

    tensor: LazyTensor
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the matrix as it is used."""
        *experts, rows, columns = self.tensor.shape
        return (*experts, columns, rows) if self.transposed else self.tensor.shape

    def load(self) -> Floats:
        """The numbers. Raises: NumericsError naming the tensor if one is not finite."""
        parts = [chunk.reshape(-1) for chunk in self.tensor.encoded(F32, None)]
        stored: Floats = np.concatenate(parts).view("<f4").reshape(self.tensor.shape)
        return stored.swapaxes(-1, -2) if self.transposed else stored

    def swapped(self) -> Factor:
        """The transposed matrix."""
        return Factor(self.tensor, not self.transposed)


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to a tensor: `scale · left @ right`.

    left: (…, rows, rank). right: (…, rank, columns). Leading axes are experts.
    order: which row of the product is added to row i of the tensor, None: row i.
    source: adapter and tensor to blame in messages.
    """

    left: Factor
    right: Factor
    scale: float
    source: str
    order: RowOrder | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the product."""
        return (*self.left.shape[:-1], self.right.shape[-1])

    @property
    def rank(self) -> int:
        """Columns of the left matrix."""
        return self.left.shape[-1]

    def load(self) -> tuple[Floats, Floats]:
        """Both matrices, rows in the order of the tensor."""
        left, right = self.left.load(), self.right.load()
        return (left if self.order is None else left[self.order]), right

    def opened(self) -> Callable[[int, int], Floats]:
        """A function that gives rows start to stop of the product, experts one after the other."""
        left, right = self.load()
        n_rows, rank = left.shape[-2:]
        lefts, rights = left.reshape(-1, n_rows, rank), right.reshape(-1, rank, right.shape[-1])

        def rows(start: int, stop: int) -> Floats:
            parts = []
            while start < stop:
                expert, row = divmod(start, n_rows)
                n = min(stop - start, n_rows - row)
                parts.append(lefts[expert, row : row + n] @ rights[expert])
                start += n
            product: Floats = np.concatenate(parts)
            product *= np.float32(self.scale)
            return product

        return rows


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """A tensor of a base with what adapters make of it, computed while it is written.

    name, shape: of the result. type: that the base stores it in. source: the base's tensor, or
    what replaces it. deltas: what is added, in order.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    source: LazyTensor
    deltas: tuple[LowRank, ...] = ()

    def encoded(self, target: TensorType, n_threads: int | None) -> Iterator[NDArray[np.uint8]]:
        """The bytes of the tensor as `target`, chunk by chunk; sums are in f32.

        Raises: NumericsError naming the tensor if a weight is not finite, or too large for what
            `target` stores numbers or scales in.
        """
        if not self.deltas:
            yield from self.source.encoded(target, n_threads)
            return
        products = [delta.opened() for delta in self.deltas]
        start = 0
        for chunk in self.source.encoded(F32, n_threads):
            values: Floats = chunk.reshape(-1).view("<f4").reshape(-1, self.shape[-1])
            stop = start + len(values)
            with np.errstate(over="ignore", invalid="ignore"):  # reported below, with its place
                for rows in products:
                    values = values + rows(start, stop)
            yield self._encode(values, target, n_threads)
            start = stop

    def _encode(
        self, values: Floats, target: TensorType, n_threads: int | None
    ) -> NDArray[np.uint8]:
        try:
            return quantize(values, target.name, n_threads=n_threads)
        except NumericsError:
            raise NumericsError(
                f"{self.source.source}: with {self.deltas[-1].source} added, weights up to "
                f"{float(np.abs(values).max()):g} do not fit {target.name}; choose f32 or bf16, "
                "or check that the adapter belongs to this base"
            ) from None
