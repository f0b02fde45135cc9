"""Writer of safetensors files, one tensor in pieces after the other."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.errors import ShapeError

_ALIGNMENT = 8
_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True, slots=True)
class DeclaredTensor:
    """A tensor to write. dtype: F32, F16 or BF16."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Size of its data."""
        return math.prod(self.shape) * _BYTES[self.dtype]


def write_safetensors(
    path: Path, tensors: Iterable[tuple[DeclaredTensor, Iterable[NDArray[np.uint8]]]]
) -> None:
    """Write a new file and see to it that it is on the disk.

    Args: tensors: each with its bytes in pieces of any size, which are asked for in order.
    Raises: ShapeError if the pieces of a tensor are not as many bytes as its shape needs.
    """
    rows = list(tensors)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor, _ in rows:
        offsets = [offset, offset + tensor.n_bytes]
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
        offset = offsets[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with open(path, "xb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor, chunks in rows:
            n_written = 0
            for chunk in chunks:
                n_written += file.write(np.ascontiguousarray(chunk).data)
            if n_written != tensor.n_bytes:
                raise ShapeError(
                    f"{path}: tensor {tensor.name!r}: expected {tensor.n_bytes} bytes, "
                    f"found {n_written}"
                )
        file.flush()
        os.fsync(file.fileno())
