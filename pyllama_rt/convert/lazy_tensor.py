"""A tensor of a source file, decoded a few rows at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.convert.joined_rows import JoinedRows
from pyllama_rt.convert.transforms import RowOrder
from pyllama_rt.errors import NumericsError, UnsupportedError
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, WEIGHT_TYPES, TensorType
from pyllama_rt.quant import dequantize, quantize
from pyllama_rt.quant.guidance import Guidance

CHUNK_ELEMENTS = 1 << 22
"""Rows are decoded in chunks of about so many elements, 16 MiB of floats."""

_FLOATS = {"F32": "f32", "F16": "f16", "BF16": "bf16"}


def weight_type(dtype: str, source: str) -> TensorType:
    """The type of weights of a checkpoint's dtype.

    Args: source: file and name to blame.
    Raises: UnsupportedError for dtypes that no weight may have.
    """
    if dtype not in _FLOATS:
        raise UnsupportedError(
            f"{source}: weights of dtype {dtype} are not supported; expected {', '.join(_FLOATS)}"
        )
    return TENSOR_TYPES[_FLOATS[dtype]]


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """A tensor that stays in its mapped file until it is written.

    name: its GGUF name. shape: outermost first. type: as stored.
    data: its bytes, or the rows of a matrix that lies in several files.
    order: which stored row becomes row i, None for the stored order (always in several files).
    source: file and name to blame in messages. added: to every element. transposed: whether a
    matrix of floats is stored so. rest: the tensors that follow it in a stack; shape is that of
    all, the others are those of the first.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    data: memoryview | JoinedRows
    source: str
    order: RowOrder | None = None
    added: float = 0.0
    transposed: bool = False
    rest: tuple[LazyTensor, ...] = ()

    @property
    def n_elements(self) -> int:
        """The product of the shape."""
        return math.prod(self.shape)

    def encoded(
        self, target: TensorType, n_threads: int | None, guidance: Sequence[Guidance] = ()
    ) -> Iterator[NDArray[np.uint8]]:
        """The bytes of the tensor as `target`, chunk by chunk.

        Args: guidance: for each matrix of the tensor, of which it is then the whole; none if
            nothing is known.
        Raises: NumericsError naming the tensor if a weight is not finite, or too large for what
            `target` stores numbers or scales in.
        """
        is_vector = len(self.shape) == 1
        width = 1 if is_vector and self.order is not None else self.shape[-1]
        n_rows = self.n_elements // width // (1 + len(self.rest))
        parts = guidance or (None,)
        for part, known in enumerate(parts):
            first, end = (n_rows * i // len(parts) for i in (part, part + 1))
            step = max(1, CHUNK_ELEMENTS // width)
            for start in range(first, end, step):
                chunk = self._rows(start, min(start + step, end), width)
                yield self._encode(chunk, width, target, known, n_threads)
        for tensor in self.rest:
            yield from tensor.encoded(target, n_threads)

    def _rows(self, start: int, stop: int, width: int) -> NDArray[np.uint8]:
        """Rows of the result as the bytes of the stored type: (stop - start, row bytes)."""
        if isinstance(self.data, JoinedRows):
            return self.data[start:stop]
        if self.transposed:
            size = self.type.row_bytes(1)
            stored = np.frombuffer(self.data, np.uint8).reshape(width, -1, size)
            turned: NDArray[np.uint8] = (
                stored[:, start:stop].swapaxes(0, 1).reshape(stop - start, -1)
            )
            return turned
        rows = np.frombuffer(self.data, np.uint8).reshape(-1, self.type.row_bytes(width))
        return rows[start:stop] if self.order is None else rows[self.order[start:stop]]

    def _encode(
        self,
        chunk: NDArray[np.uint8],
        width: int,
        target: TensorType,
        guidance: Guidance | None,
        n_threads: int | None,
    ) -> NDArray[np.uint8]:
        if self.type.name not in WEIGHT_TYPES:
            return chunk  # tables of integers and the like are carried along as they are
        values = dequantize(chunk, self.type.name, (len(chunk), width))
        if self.added:
            values = values + np.float32(self.added)
        elif target == self.type:
            if not math.isfinite(_largest(values)):
                raise self._unfit(values, target)
            return chunk
        try:
            return quantize(values, target.name, guidance=guidance, n_threads=n_threads)
        except NumericsError:
            raise self._unfit(values, target) from None

    def _unfit(self, values: NDArray[np.float32], target: TensorType) -> NumericsError:
        """What is wrong with weights that `target` cannot hold."""
        largest = _largest(values)
        if not math.isfinite(largest):
            return NumericsError(
                f"{self.source}: expected finite weights, found NaN or infinity; the checkpoint is "
                "broken, fetch or export it again"
            )
        return NumericsError(
            f"{self.source}: weights up to {largest:g} do not fit {target.name}; choose f32 or bf16"
        )


def _largest(values: NDArray[np.float32]) -> float:
    """The largest magnitude; NaN or infinity if there is one."""
    return max(-float(values.min()), float(values.max()))
