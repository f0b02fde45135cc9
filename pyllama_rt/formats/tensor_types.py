"""The tensor types of GGUF: names as users type them, ids, and block sizes.

Source: GGUF specification, `ggml_type`; block layouts in docs/formats.md. The C++ side holds the
same table in `csrc/core/tensor_type.cpp`; `tests/formats/test_tensor_types.py` compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyllama_rt.errors import ConfigError, did_you_mean


@dataclass(frozen=True, slots=True)
class TensorType:
    """One storage type.

    name: as users type it. gguf_id: id in the file. block_size: elements per block.
    block_bytes: bytes per block. is_quantized: False for plain numbers.
    """

    name: str
    gguf_id: int
    block_size: int
    block_bytes: int
    is_quantized: bool

    @property
    def bits_per_weight(self) -> float:
        """Bits per element, scales included."""
        return self.block_bytes * 8 / self.block_size

    def row_bytes(self, n_elements: int) -> int:
        """Bytes of a row of `n_elements`, which must be a multiple of `block_size`."""
        return n_elements // self.block_size * self.block_bytes


_ROWS = (
    ("f32", 0, 1, 4, False),
    ("f16", 1, 1, 2, False),
    ("q4_0", 2, 32, 18, True),
    ("q4_1", 3, 32, 20, True),
    ("q5_0", 6, 32, 22, True),
    ("q5_1", 7, 32, 24, True),
    ("q8_0", 8, 32, 34, True),
    ("q2_k", 10, 256, 84, True),
    ("q3_k", 11, 256, 110, True),
    ("q4_k", 12, 256, 144, True),
    ("q5_k", 13, 256, 176, True),
    ("q6_k", 14, 256, 210, True),
    ("iq4_nl", 20, 32, 18, True),
    ("iq4_xs", 23, 256, 136, True),
    ("i8", 24, 1, 1, False),
    ("i16", 25, 1, 2, False),
    ("i32", 26, 1, 4, False),
    ("i64", 27, 1, 8, False),
    ("f64", 28, 1, 8, False),
    ("bf16", 30, 1, 2, False),
)

TENSOR_TYPES: dict[str, TensorType] = {row[0]: TensorType(*row) for row in _ROWS}
"""Every known type by name."""

BY_GGUF_ID: dict[int, TensorType] = {t.gguf_id: t for t in TENSOR_TYPES.values()}
"""Every known type by its id in the file."""

WEIGHT_TYPES: tuple[str, ...] = tuple(
    name for name in TENSOR_TYPES if name not in ("i8", "i16", "i32", "i64", "f64")
)
"""The types that a weight may have at run time: floats and blocks."""


def tensor_type(name: str) -> TensorType:
    """The type called `name`, in any letter case.

    Raises: ConfigError with the closest known name.
    """
    found = TENSOR_TYPES.get(name.lower())
    if found is None:
        choices = ", ".join(TENSOR_TYPES)
        raise ConfigError(
            f"tensor type {name!r} is unknown{did_you_mean(name.lower(), TENSOR_TYPES)}; "
            f"choose from {choices}"
        )
    return found
