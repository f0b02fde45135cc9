"""Looks for numbers in a model file that are not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from pyllama_rt.formats.gguf import GgufFile, TensorInfo
from pyllama_rt.formats.tensor_types import WEIGHT_TYPES
from pyllama_rt.quant.codec import dequantize

_CHUNK_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True)
class Damage:
    """A tensor with numbers that are a NaN or an infinity, and how many rows hold some."""

    tensor: str
    n_rows: int


def find_damage(
    file: GgufFile, progress: Callable[[str, int, int], None] | None = None
) -> Iterator[Damage]:
    """Decodes every weight, a few rows at a time, and yields the tensors that are damaged.

    Args: progress: called with the tensor, the bytes looked at so far, and the bytes in all.
    """
    weights = [info for info in file.tensors.values() if info.type.name in WEIGHT_TYPES]
    n_total = sum(info.n_bytes for info in weights)
    n_done = 0
    for info in weights:
        n_rows = 0
        for n_damaged, n_bytes in _scan(file, info):
            n_rows += n_damaged
            n_done += n_bytes
            if progress is not None:
                progress(info.name, n_done, n_total)
        if n_rows:
            yield Damage(info.name, n_rows)


def _scan(file: GgufFile, info: TensorInfo) -> Iterator[tuple[int, int]]:
    """Damaged rows and bytes of each chunk."""
    data = file.tensor_data(info.name)
    width = info.shape[-1]
    row_bytes = info.type.row_bytes(width)
    step = max(1, _CHUNK_ELEMENTS // width)
    n_rows = prod(info.shape[:-1])
    for begin in range(0, n_rows, step):
        n = min(step, n_rows - begin)
        part = data[begin * row_bytes : (begin + n) * row_bytes]
        rows = dequantize(part, info.type.name, (n, width))
        # Times zero is zero for every finite number, and its sum takes one pass.
        with np.errstate(invalid="ignore"):
            sums = (rows * np.float32(0)).sum(axis=1)
        yield int(np.count_nonzero(sums != 0)), len(part)
