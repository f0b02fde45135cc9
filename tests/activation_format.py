"""The format to which activations are rounded when they meet weights of a type."""

from __future__ import annotations

from pyllama_rt.formats.tensor_types import tensor_type


def activation_format(weight_type: str) -> str:
    """The word that `ReferenceWeight.activations` takes."""
    kind = tensor_type(weight_type)
    if kind.is_quantized:
        return f"int8_{kind.block_size}"
    return "bf16" if kind.name == "bf16" else "f32"
