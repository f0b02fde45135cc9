"""A LLaMA of any size whose weights are all zero, in a file that takes next to no disk."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
from gguf_craft import FLOAT32, INT32, UINT32, Craft, Fields, Tensor, number, numbers, text
from gguf_craft import texts as strings
from random_model import metadata, tensor_shapes

from pyllama_rt.formats.tensor_types import tensor_type
from pyllama_rt.models.config import TransformerConfig


def write_sparse_llama(path: Path, cfg: TransformerConfig, type_name: str) -> int:
    """Writes the file with its matrices as `type_name`. Returns: its size in bytes."""
    craft = Craft({key: _fields(value) for key, value in metadata(cfg).items()})
    offset = 0
    for name, shape in tensor_shapes(cfg).items():
        kind = tensor_type(type_name if len(shape) == 2 else "f32")
        craft.tensors.append(Tensor(name, list(reversed(shape)), b"", kind.gguf_id, offset))
        n_bytes = kind.row_bytes(shape[-1]) * prod(shape[:-1])
        offset += n_bytes + -n_bytes % craft.alignment
    head = craft.build()
    size = len(head) + -len(head) % craft.alignment + offset
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return size


def _fields(value: object) -> Fields:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int):
        return number(UINT32, value)
    if isinstance(value, float):
        return number(FLOAT32, value)
    if isinstance(value, np.ndarray):
        return numbers(FLOAT32 if value.dtype == np.float32 else INT32, value.tolist())
    assert isinstance(value, list)
    return strings(value) if isinstance(value[0], str) else numbers(UINT32, value)
