"""The table of tensor types against the C++ table and the public `gguf` package."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from pyllama_rt.errors import ConfigError, ShapeError
from pyllama_rt.formats.tensor_types import BY_GGUF_ID, TENSOR_TYPES, WEIGHT_TYPES, tensor_type
from pyllama_rt.quant import quantize


@pytest.mark.parametrize("name", TENSOR_TYPES)
def test_equals_the_public_package(name: str) -> None:
    known = gguf.GGMLQuantizationType[name.upper()]
    mine = TENSOR_TYPES[name]
    assert (mine.gguf_id, mine.block_size, mine.block_bytes) == (
        known.value,
        *gguf.GGML_QUANT_SIZES[known],
    )
    assert BY_GGUF_ID[known.value] is mine


@pytest.mark.parametrize("name", WEIGHT_TYPES)
def test_equals_the_compiled_table(name: str) -> None:
    mine = TENSOR_TYPES[name]
    block = np.ones(mine.block_size, np.float32)
    assert quantize(block, name).nbytes == mine.block_bytes
    if mine.block_size > 1:
        with pytest.raises(ShapeError, match=str(mine.block_size)):
            quantize(block[:-1], name)


def test_names_in_any_case_and_the_nearest_name() -> None:
    assert tensor_type("Q4_K") is TENSOR_TYPES["q4_k"]
    with pytest.raises(ConfigError, match="did you mean 'q4_k'"):
        tensor_type("q4_kk")
