"""Correlations in importance matrix files: tensors `<name>.in_corr`, which llama.cpp passes over.

F16, (cols, 256). Weights that read the same input share one, stored for the first of their names;
an array of strings in the metadata, `other=first` each, says which do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.formats.gguf import GgufFile, GgufWriter, TensorInfo, ValueType
from pyllama_rt.quant.importance_correlations import BLOCK, Correlations, check_correlations
from pyllama_rt.quant.importance_matrix import InputSquares

_SUFFIX = ".in_corr"
_SAME_INPUT = "pyllama_rt.imatrix.same_input"
_EQUALS = "="


def with_correlations(
    file: GgufFile, tensors: Mapping[str, InputSquares]
) -> dict[str, InputSquares]:
    """What a file says of weights, and how their inputs go together where it says that."""
    found = {
        name: _read(file, name, info, tensors)
        for info in file.tensors.values()
        if (name := info.name.removesuffix(_SUFFIX)) != info.name
    }
    for entry in file.get_strings(_SAME_INPUT, ()):
        name, first = _same_input(file, entry, tensors, found)
        found[name] = found[first]
    return {name: replace(known, correlations=found.get(name)) for name, known in tensors.items()}


def declare_correlations(
    writer: GgufWriter, tensors: Mapping[str, InputSquares]
) -> dict[str, Correlations]:
    """What is then to be written after all other tensors, by name in the file and in order."""
    first: dict[int, str] = {}
    stored: dict[str, Correlations] = {}
    same: list[str] = []
    for name in sorted(tensors):
        found = tensors[name].correlations
        if found is None:
            continue
        owner = first.setdefault(id(found), name)
        if owner != name and _EQUALS not in name:
            same.append(name + _EQUALS + owner)
            continue
        writer.declare(name + _SUFFIX, found.shape, "f16")
        stored[name + _SUFFIX] = found
    if same:
        writer.add(_SAME_INPUT, same, ValueType.ARRAY, ValueType.STRING)
    return stored


def _read(
    file: GgufFile, name: str, info: TensorInfo, tensors: Mapping[str, InputSquares]
) -> Correlations:
    def refuse(expected: str, found: object) -> FormatError:
        field = f"tensor {shown(info.name)}"
        return FormatError.at(file.path, field, expected=expected, found=found)

    if name not in tensors:
        raise refuse("correlations of a weight whose sums of squares the file has", "none")
    if info.type.name != "f16":
        raise refuse("type f16", info.type.name)
    n_mats, n_cols = tensors[name].sums.shape
    if n_mats != 1 or info.shape != (n_cols, BLOCK):
        whose = f"for {n_mats} x {n_cols} columns"
        wanted = f"shape {[n_cols, BLOCK]}" if n_mats == 1 else "no correlations"
        raise refuse(f"{wanted} {whose}", list(info.shape))
    values = np.frombuffer(file.tensor_data(info.name), "<f2").astype(np.float16)
    found = values.reshape(n_cols, BLOCK)
    check_correlations(file.path, info.name, found)
    return found


def _same_input(
    file: GgufFile,
    entry: str,
    tensors: Mapping[str, InputSquares],
    found: Mapping[str, Correlations],
) -> tuple[str, str]:
    """The two names of an entry. The second must have its own, or be one of an entry before."""
    name, _, first = entry.partition(_EQUALS)
    fits = name in tensors and name not in found and first in found
    if not fits or tensors[name].sums.shape != tensors[first].sums.shape:
        raise FormatError.at(
            file.path,
            _SAME_INPUT,
            expected="a weight without correlations, '=', and one of the same width with them",
            found=shown(entry),
        )
    return name, first
