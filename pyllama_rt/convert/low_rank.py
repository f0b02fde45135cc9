"""Products of two narrow matrices, and the tensors that they are added to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.convert.joined_rows import JoinedRows
from pyllama_rt.convert.lazy_tensor import LazyTensor
from pyllama_rt.convert.transforms import RowOrder
from pyllama_rt.errors import NumericsError
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, TensorType
from pyllama_rt.quant import quantize

F32 = TENSOR_TYPES["f32"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Factor:
    """One matrix of a product, as stored or transposed."""

    tensor: LazyTensor
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the matrix as it is used."""
        return self.tensor.shape[::-1] if self.transposed else self.tensor.shape

    def load(self) -> Floats:
        """The numbers. Raises: NumericsError naming the tensor if one is not finite."""
        parts = [chunk.reshape(-1) for chunk in self.tensor.encoded(F32, None)]
        stored: Floats = np.concatenate(parts).view("<f4").reshape(self.tensor.shape)
        return stored.T if self.transposed else stored

    def swapped(self) -> Factor:
        """The transposed matrix."""
        return Factor(self.tensor, not self.transposed)


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to a matrix: `scale · left @ right`.

    left: (rows, rank). right: (rank, columns); in a pair of a GGUF file both may have experts
    before that, see `part`. order: which row of the product is added to row i, None: row i.
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
        return self.left.shape[0], self.right.shape[1]

    @property
    def rank(self) -> int:
        """Columns of the left matrix."""
        return self.left.shape[1]

    def part(self, expert: int) -> LowRank:
        """What is added to the matrix of one expert."""
        left, right = Factor(nth(self.left.tensor, expert)), Factor(nth(self.right.tensor, expert))
        return replace(self, left=left, right=right)

    def swapped(self) -> LowRank:
        """The transposed product."""
        return replace(self, left=self.right.swapped(), right=self.left.swapped())

    def load(self) -> tuple[Floats, Floats]:
        """Both matrices, rows in the order of the tensor that they are added to."""
        left, right = self.left.load(), self.right.load()
        return (left if self.order is None else left[self.order]), right


def nth(stack: LazyTensor, index: int) -> LazyTensor:
    """One tensor of a stack, whether it lies in one piece or in several."""
    shape = stack.shape[1:]
    if stack.rest:
        return replace((stack, *stack.rest)[index], shape=shape, rest=())
    data = stack.data
    if isinstance(data, JoinedRows):
        raise TypeError(f"{stack.source}: expected a stack in one file")
    n_bytes = len(data) // stack.shape[0]
    return replace(stack, shape=shape, data=data[index * n_bytes : (index + 1) * n_bytes])


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """A tensor of a base with what adapters make of it, computed while it is written.

    name, shape: of the result. type: that the base stores it in. source: the base's tensor, or
    what replaces it. deltas: what is added, in order. rest: the tensors that follow it in a stack,
    as in LazyTensor.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    source: LazyTensor
    deltas: tuple[LowRank, ...] = ()
    rest: tuple[MergedTensor, ...] = ()

    def encoded(self, target: TensorType, n_threads: int | None) -> Iterator[NDArray[np.uint8]]:
        """The bytes of the tensor as `target`, chunk by chunk; sums are in f32.

        Raises: NumericsError naming the tensor if a weight is not finite, or too large for what
            `target` stores numbers or scales in.
        """
        if self.deltas:
            yield from self._with_deltas(target, n_threads)
        else:
            yield from self.source.encoded(target, n_threads)
        for tensor in self.rest:
            yield from tensor.encoded(target, n_threads)

    def _with_deltas(
        self, target: TensorType, n_threads: int | None
    ) -> Iterator[NDArray[np.uint8]]:
        pairs = [(delta.load(), np.float32(delta.scale)) for delta in self.deltas]
        start = 0
        for chunk in self.source.encoded(F32, n_threads):
            values: Floats = chunk.reshape(-1).view("<f4").reshape(-1, self.shape[-1])
            stop = start + len(values)
            with np.errstate(over="ignore", invalid="ignore"):  # reported below, with its place
                for (left, right), scale in pairs:
                    values = values + (left[start:stop] @ right) * scale
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
