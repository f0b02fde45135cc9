"""Arrays to blocks and back, on all cores; the arithmetic is in `csrc/quant`."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from pyllama_rt import _core
from pyllama_rt.config import MAX_THREADS, check_int
from pyllama_rt.errors import ConfigError, ShapeError, shown
from pyllama_rt.formats.tensor_types import WEIGHT_TYPES, TensorType, tensor_type
from pyllama_rt.quant.guidance import Guidance


def quantize(
    x: NDArray[np.floating[Any]],
    type: str,
    *,
    guidance: Guidance | None = None,
    n_threads: int | None = None,
) -> NDArray[np.uint8]:
    """Encodes the rows of `x`, the last axis, in a weight type.

    Args:
        x: (..., n) of any float type and memory order, finite.
        type: A name of WEIGHT_TYPES, in any letter case. Block types take n in whole blocks.
        guidance: What is known of the inputs of the n columns, for the types that can use it.
        n_threads: Threads to use; all physical cores by default. The result does not depend on it.
    Returns:
        (..., row_bytes) u8, in the layout of GGUF.
    Raises:
        ConfigError: Unknown type. ShapeError: Not a float array, or rows of broken blocks.
        NumericsError: A NaN, an infinity, or a number beyond the range of F16 or BF16.
    """
    found = _weight_type(type)
    array = np.asarray(x)
    if array.ndim == 0 or not np.issubdtype(array.dtype, np.floating):
        raise ShapeError(
            f"quantize: expected a float array of one or more dimensions, found {array.dtype} "
            f"of shape {array.shape}; convert it with astype('float32')"
        )
    _check_row(found, array.shape[-1], "quantize")
    with np.errstate(over="ignore"):  # an overflow to infinity is reported below, with its place
        floats = np.ascontiguousarray(array, np.float32)
    rows = floats.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    known = guidance or Guidance()
    encoded = _core.quantize(
        found.name, rows, _thread_count(n_threads), known.importance, known.feedback
    )
    return encoded.reshape(*array.shape[:-1], encoded.shape[-1])


def dequantize(
    data: bytes | bytearray | memoryview | NDArray[np.uint8],
    type: str,
    shape: SupportsIndex | Sequence[SupportsIndex],
    *,
    n_threads: int | None = None,
) -> NDArray[np.float32]:
    """Decodes the blocks in `data` to floats.

    Args:
        data: The bytes of all rows, one after the other.
        type: A name of WEIGHT_TYPES, in any letter case.
        shape: Of the result; its last axis is the row.
        n_threads: Threads to use; all physical cores by default.
    Returns:
        An array of `shape`, f32.
    Raises:
        ConfigError: Unknown type. ShapeError: `data` is not exactly as long as `shape` needs.
    """
    found = _weight_type(type)
    sizes = _sizes(shape)
    _check_row(found, sizes[-1], "dequantize")
    blocks = _bytes_of(data)
    n_rows = math.prod(sizes[:-1])
    expected = n_rows * found.row_bytes(sizes[-1])
    if blocks.size != expected:
        raise ShapeError(
            f"dequantize: expected {expected} bytes for {found.name} of shape {sizes}, "
            f"found {blocks.size}; check the shape and the type"
        )
    decoded = _core.dequantize(found.name, blocks, n_rows, sizes[-1], _thread_count(n_threads))
    return decoded.reshape(sizes)


def _weight_type(name: str) -> TensorType:
    found = tensor_type(name)
    if found.name not in WEIGHT_TYPES:
        choices = ", ".join(WEIGHT_TYPES)
        raise ConfigError(f"tensor type {name!r} does not hold weights; choose from {choices}")
    return found


def _check_row(found: TensorType, n_cols: int, where: str) -> None:
    if n_cols % found.block_size != 0:
        raise ShapeError(
            f"{where}: expected rows of a multiple of {found.block_size} elements for "
            f"{found.name}, found {n_cols}; choose a type with smaller blocks"
        )


def _sizes(shape: SupportsIndex | Sequence[SupportsIndex]) -> tuple[int, ...]:
    axes = shape if isinstance(shape, Sequence) else (shape,)
    try:
        sizes = tuple(operator.index(axis) for axis in axes)
    except TypeError:
        sizes = ()
    if not sizes or min(sizes) < 0 or math.prod(max(1, size) for size in sizes) >= 2**60:
        raise ShapeError(
            f"dequantize: shape: expected one or more sizes of 0 or more, their product below "
            f"2**60, found {shown(shape)}"
        )
    return sizes


def _bytes_of(data: bytes | bytearray | memoryview | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The buffer as (n_bytes,) u8, copied only if it is not contiguous."""
    if isinstance(data, np.ndarray):
        if data.dtype != np.uint8:
            raise ShapeError(f"dequantize: data: expected a u8 array, found {data.dtype}")
        return np.ascontiguousarray(data).reshape(-1)
    try:
        return np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise ShapeError(
            f"dequantize: data: expected bytes in one piece, found {data.__class__.__name__}"
        ) from error


def _thread_count(n_threads: int | None) -> int:
    if n_threads is None:
        return _core.default_threads()
    check_int("n_threads", n_threads, 1, MAX_THREADS)
    return n_threads
