"""Importance matrices as GGUF files, which llama.cpp writes and reads too.

Each weight has two tensors: `<name>.in_sum2`, (n_mats, cols), and `<name>.counts`, (n_mats, 1).
Correlations stand beside them (importance_correlations_gguf.py).
Source: llama.cpp, tools/imatrix/imatrix.cpp and common/imatrix-loader.cpp, for names and shapes.
"""

from __future__ import annotations

import os

import numpy as np

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.formats.gguf import GgufFile, GgufWriter, TensorInfo, ValueType
from pyllama_rt.formats.gguf_adapter import IMATRIX, TYPE_KEY
from pyllama_rt.quant.importance_correlations_gguf import (
    declare_correlations,
    with_correlations,
)
from pyllama_rt.quant.importance_matrix import Floats, ImportanceMatrix, InputSquares

_SUMS, _COUNTS = ".in_sum2", ".counts"
_DATASETS, _CHUNKS, _CHUNK = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"
_MAX_CHUNKS = (1 << 32) - 1


def read_gguf(path: str | os.PathLike[str]) -> ImportanceMatrix:
    """Reads a file. Raises: as `read_importance`."""
    with GgufFile.open(path) as file:
        kind = file.get_str(TYPE_KEY, "model")
        if kind != IMATRIX:
            raise FormatError.at(
                path,
                TYPE_KEY,
                expected=f"{IMATRIX!r}, as pyllama-rt imatrix writes it",
                found=shown(kind),
            )
        halves: dict[str, dict[str, TensorInfo]] = {}
        for info in file.tensors.values():
            for suffix in (_SUMS, _COUNTS):
                if info.name.endswith(suffix):
                    halves.setdefault(info.name[: -len(suffix)], {})[suffix] = info
        if not halves:
            raise FormatError(f"{path}: expected pairs of tensors *{_SUMS} and *{_COUNTS}")
        tensors = {name: _pair(file, name, found) for name, found in halves.items()}
        return ImportanceMatrix(
            with_correlations(file, tensors),
            tuple(file.get_strings(_DATASETS, ())),
            _count(file, _CHUNKS),
            _count(file, _CHUNK),
            str(path),
        )


def write_gguf(path: str | os.PathLike[str], matrix: ImportanceMatrix) -> None:
    """Writes a file. Raises: as `write_importance`."""
    with GgufWriter(path) as writer:
        writer.add(TYPE_KEY, IMATRIX)
        writer.add(_DATASETS, list(matrix.datasets), ValueType.ARRAY, ValueType.STRING)
        writer.add(_CHUNKS, min(matrix.chunk_count, _MAX_CHUNKS), ValueType.UINT32)
        writer.add(_CHUNK, matrix.chunk_size, ValueType.UINT32)
        names = sorted(matrix.tensors)
        for name in names:
            found = matrix.tensors[name]
            writer.declare(name + _SUMS, found.sums.shape, "f32")
            writer.declare(name + _COUNTS, (len(found.counts), 1), "f32")
        correlations = declare_correlations(writer, matrix.tensors)
        for name in names:
            found = matrix.tensors[name]
            writer.write_tensor(name + _SUMS, found.sums.astype("<f4"))
            writer.write_tensor(name + _COUNTS, found.counts.astype("<f4"))
        for name, cosines in correlations.items():
            writer.write_tensor(name, cosines.astype("<f2"))


def checked_squares(path: object, name: str, sums: Floats, counts: Floats) -> InputSquares:
    """What a file says of a weight. Raises: FormatError for numbers that no counting gives."""
    for what, values in (("a sum of squares", sums), ("a number of rows", counts)):
        wrong = ~(np.isfinite(values) & (values >= 0))
        if wrong.any():
            raise FormatError.at(
                path,
                f"tensor {shown(name)}",
                expected=f"{what}, finite and not negative",
                found=f"{values[wrong][0]}; make the importance matrix anew",
            )
    return InputSquares(sums, counts)


def _pair(file: GgufFile, name: str, found: dict[str, TensorInfo]) -> InputSquares:
    for suffix in (_SUMS, _COUNTS):
        if suffix not in found:
            raise FormatError(f"{file.path}: tensor {shown(name + suffix)} is missing")
        if found[suffix].type.name != "f32":
            raise FormatError.at(
                file.path,
                f"tensor {shown(name + suffix)}",
                expected="type f32",
                found=found[suffix].type.name,
            )
    sums, counts = (_floats(file, found[suffix]) for suffix in (_SUMS, _COUNTS))
    if sums.size % counts.size:
        raise FormatError.at(
            file.path,
            f"tensor {shown(name + _SUMS)}",
            expected=f"as many numbers for each of the {counts.size} matrices that "
            f"{shown(name + _COUNTS)} has",
            found=f"{sums.size} in all",
        )
    # They are stored as floats, but are whole; others would divide sums by next to nothing.
    return checked_squares(file.path, name, sums.reshape(counts.size, -1), np.rint(counts))


def _floats(file: GgufFile, info: TensorInfo) -> Floats:
    """A copy of a tensor's numbers in one row, which outlives the mapping."""
    return np.frombuffer(file.tensor_data(info.name), "<f4").astype(np.float32)


def _count(file: GgufFile, key: str) -> int:
    value = file.get_int(key, 0)
    if not 0 <= value <= _MAX_CHUNKS:
        raise FormatError.at(file.path, key, expected=f"0 to {_MAX_CHUNKS}", found=value)
    return value
