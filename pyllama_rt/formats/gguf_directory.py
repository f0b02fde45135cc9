"""Parses the tensor directory of one GGUF file and checks every extent against the file."""

from __future__ import annotations

import math
import struct
from dataclasses import replace

from pyllama_rt.errors import FormatError, UnsupportedError, shown
from pyllama_rt.formats.gguf_cursor import Cursor
from pyllama_rt.formats.gguf_types import MAX_DIMS, MAX_NAME_BYTES, TensorInfo, align_up
from pyllama_rt.formats.tensor_types import BY_GGUF_ID, TensorType

_ROWS = {n_dims: struct.Struct(f"<{n_dims}QIQ") for n_dims in range(1, MAX_DIMS + 1)}
"""Dimensions, type and offset of a tensor with `n_dims` dimensions."""

# Ids that ggml gave to types which are not read here: still in use, then taken back.
_OTHER_TYPES = {
    9: "q8_1",
    15: "q8_k",
    16: "iq2_xxs",
    17: "iq2_xs",
    18: "iq3_xxs",
    19: "iq1_s",
    21: "iq3_s",
    22: "iq2_s",
    29: "iq1_m",
    34: "tq1_0",
    35: "tq2_0",
    39: "mxfp4",
    40: "nvfp4",
    41: "q1_0",
}
_REMOVED_TYPES = frozenset({4, 5, 31, 32, 33, 36, 37, 38})


def parse_directory(
    cursor: Cursor, n_tensors: int, alignment: int, file_index: int
) -> list[TensorInfo]:
    """Read `n_tensors` rows at the cursor.

    Returns: the tensors in the order of the directory, with absolute offsets.
    Raises: FormatError, UnsupportedError (a tensor type that is not read here).
    """
    names: set[str] = set()
    relative: list[TensorInfo] = []
    for index in range(n_tensors):
        at = cursor.position
        info = _parse_row(cursor, index, alignment, file_index)
        if info.name in names:
            raise cursor.error(
                f"name of tensor {index}", expected="a new name", found=shown(info.name), at=at
            )
        names.add(info.name)
        relative.append(info)
    data_start = align_up(cursor.position, alignment)
    tensors = [replace(info, offset=data_start + info.offset) for info in relative]
    _check_extents(cursor, tensors)
    return tensors


def _parse_row(cursor: Cursor, index: int, alignment: int, file_index: int) -> TensorInfo:
    """One row; its offset is still relative to the start of the data."""
    name = cursor.identifier(f"name of tensor {index}", MAX_NAME_BYTES)
    field = f"tensor {shown(name)}"
    at = cursor.position
    n_dims = cursor.u32(f"{field}: number of dimensions")
    if not 1 <= n_dims <= MAX_DIMS:
        raise cursor.error(
            f"{field}: number of dimensions", expected=f"1 to {MAX_DIMS}", found=n_dims, at=at
        )
    layout = _ROWS[n_dims]
    at = cursor.skip(layout.size, f"{field}: dimensions, type and offset")
    *dims, type_id, offset = layout.unpack_from(cursor.data, at)
    type_ = _tensor_type(cursor, field, type_id, at + 8 * n_dims)
    n_bytes = _n_bytes(cursor, field, dims, type_, at)
    if offset % alignment:
        raise cursor.error(
            f"{field}: offset",
            expected=f"a multiple of {alignment}",
            found=offset,
            at=at + layout.size - 8,
        )
    return TensorInfo(name, tuple(reversed(dims)), type_, n_bytes, file_index, offset)


def _tensor_type(cursor: Cursor, field: str, type_id: int, at: int) -> TensorType:
    found = BY_GGUF_ID.get(type_id)
    if found is not None:
        return found
    if type_id in _OTHER_TYPES:
        raise UnsupportedError(
            f"{cursor.path}: {field} has type {_OTHER_TYPES[type_id]}, which is not supported; "
            f"choose a file with another quantisation"
        )
    if type_id in _REMOVED_TYPES:
        raise UnsupportedError(
            f"{cursor.path}: {field} has type {type_id}, which was removed from the format; "
            "quantise the model again"
        )
    raise cursor.error(f"{field}: type", expected="a known tensor type", found=type_id, at=at)


def _n_bytes(cursor: Cursor, field: str, dims: list[int], type_: TensorType, at: int) -> int:
    """Size of a tensor, with every dimension checked; `dims` is in the order of the file."""
    for axis, dim in enumerate(dims):
        if not 1 <= dim < 1 << 63:
            raise cursor.error(
                f"{field}: dimension {axis}", expected="1 to 2^63 - 1", found=dim, at=at + 8 * axis
            )
    if dims[0] % type_.block_size:
        raise cursor.error(
            f"{field}: row length",
            expected=f"a multiple of {type_.block_size}, the block size of {type_.name}",
            found=dims[0],
            at=at,
        )
    n_bytes = type_.row_bytes(dims[0]) * math.prod(dims[1:])
    if n_bytes > len(cursor.data):
        raise cursor.error(
            f"{field}: size", expected=f"at most {len(cursor.data)} bytes", found=n_bytes, at=at
        )
    return n_bytes


def _check_extents(cursor: Cursor, tensors: list[TensorInfo]) -> None:
    """Refuse data outside the file and data that two tensors claim."""
    n_file = len(cursor.data)
    previous: TensorInfo | None = None
    for info in sorted(tensors, key=lambda tensor: tensor.offset):
        if info.offset > n_file or info.n_bytes > n_file - info.offset:
            raise FormatError.at(
                cursor.path,
                f"data of tensor {shown(info.name)}",
                expected=f"{info.n_bytes} bytes inside the file of {n_file} bytes",
                found="less (the file is cut short or its directory is wrong)",
                offset=info.offset,
            )
        if previous is not None and previous.offset + previous.n_bytes > info.offset:
            raise FormatError.at(
                cursor.path,
                f"data of tensor {shown(info.name)}",
                expected=f"no overlap with tensor {shown(previous.name)}",
                found=f"{previous.offset + previous.n_bytes - info.offset} shared bytes",
                offset=info.offset,
            )
        previous = info
