"""The importance matrices that llama.cpp wrote before it had GGUF for them: `imatrix.dat`.

Little-endian: a number of entries; for each its name, a number of chunks, and the mean squares
times that; then, if anything follows, the chunks of the whole run and the name of the text. The
numbers of rows are lost; like llama.cpp we take chunks of 512.
Source: llama.cpp, common/imatrix-loader.cpp, for the order of the fields.
"""

from __future__ import annotations

import numpy as np

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.formats.gguf_cursor import Cursor
from pyllama_rt.formats.gguf_types import MAX_NAME_BYTES
from pyllama_rt.formats.mapped_file import MappedFile
from pyllama_rt.quant.importance_gguf import checked_squares
from pyllama_rt.quant.importance_matrix import ImportanceMatrix, InputSquares

_CHUNK_SIZE = 512
_MAX_COUNT = (1 << 31) - 1
_MAX_PATH_BYTES = 1 << 16


def read_dat(mapped: MappedFile) -> ImportanceMatrix:
    """Reads a mapped file. Raises: FormatError if it breaks the format."""
    cursor = Cursor(mapped.view, mapped.path)
    n_entries = _count(cursor, "number of entries", 1)
    tensors: dict[str, InputSquares] = {}
    for index in range(n_entries):  # each takes some of the file, so that lies end soon
        name = _text(cursor, f"name of entry {index}", MAX_NAME_BYTES)
        if name in tensors or not name.isprintable():
            raise FormatError.at(
                mapped.path,
                f"name of entry {index}",
                expected="the name of a tensor that no entry before it has",
                found=shown(name),
            )
        tensors[name] = _squares(cursor, name)
    n_chunks = max(int(found.counts[0]) for found in tensors.values()) // _CHUNK_SIZE
    datasets: tuple[str, ...] = ()
    if cursor.n_left:
        n_chunks = _count(cursor, "number of chunks", 0)
    if cursor.n_left:
        text = _text(cursor, "name of the text", _MAX_PATH_BYTES)
        datasets = (text,) if text else ()
    return ImportanceMatrix(tensors, datasets, n_chunks, _CHUNK_SIZE, str(mapped.path))


def _squares(cursor: Cursor, name: str) -> InputSquares:
    n_chunks = _count(cursor, f"chunks of {shown(name)}", 0)
    n_values = _count(cursor, f"number of values of {shown(name)}", 1)
    start = cursor.skip(4 * n_values, f"values of {shown(name)}")
    values = np.frombuffer(cursor.data[start : cursor.position], "<f4").astype(np.float64)
    with np.errstate(over="ignore"):  # refused below
        sums = (values * _CHUNK_SIZE).astype(np.float32)[None]
    counts = np.array([max(n_chunks, 1) * _CHUNK_SIZE], np.float32)
    return checked_squares(cursor.path, name, sums, counts)


def _count(cursor: Cursor, field: str, least: int) -> int:
    at = cursor.position
    value = cursor.u32(field)
    if not least <= value <= _MAX_COUNT:
        raise cursor.error(
            field,
            expected=f"{least} to {_MAX_COUNT}, if this is an importance matrix",
            found=value,
            at=at,
        )
    return value


def _text(cursor: Cursor, field: str, limit: int) -> str:
    at = cursor.position
    n_bytes = cursor.u32(f"length of {field}")
    if n_bytes > limit:
        raise cursor.error(
            f"length of {field}",
            expected=f"at most {limit} bytes, if this is an importance matrix",
            found=n_bytes,
            at=at,
        )
    start = cursor.skip(n_bytes, field)
    return bytes(cursor.data[start : cursor.position]).decode("utf-8", "replace")
