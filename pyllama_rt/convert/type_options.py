"""Which types the weights of a file may take, and what size the file then has."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyllama_rt.convert.quantize_file import copy_keys, read_traits
from pyllama_rt.convert.write import add_type_keys
from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter
from pyllama_rt.formats.gguf_types import align_up
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, TensorType
from pyllama_rt.quant.mixes import find_mix, fit_to_rows, parse_override
from pyllama_rt.quant.plan import Plan, SourceTensor, check_requantization, make_plan, takes_types

BLOCK_TYPES = ("q2_k", "q3_k", "iq4_xs", "q4_k", "q5_k", "q6_k", "q8_0")
"""What is chosen from; of the other types each is worse than one of these of about its size."""


@dataclass(frozen=True, slots=True)
class TypeOptions:
    """What may be chosen, and what it does to the size.

    weights: for each by name the bytes that it takes in the file, by type. rest_bytes: of the file
    besides them. rest_data: of these, what other tensors take without padding. n_elements: of all
    tensors.
    """

    path: Path
    weights: Mapping[str, Mapping[str, int]]
    rest_bytes: int
    rest_data: int
    n_elements: int

    @property
    def least(self) -> int:
        """Bytes of all weights in their smallest types."""
        return sum(min(sizes.values()) for sizes in self.weights.values())


def read_type_options(
    source: str | os.PathLike[str],
    *,
    tensor_types: Sequence[str] = (),
    allow_requantize: bool = False,
) -> TypeOptions:
    """The options that the weights of a GGUF file have.

    Args: tensor_types: `REGEX=TYPE`, which leaves the weights whose names match that type alone.
    Raises: as `quantize_file`; ConfigError for a file of another format.
    """
    path = Path(source)
    if path.suffix == ".json":
        raise ConfigError(
            f"{path}: expected a GGUF file, whose weights can be measured; a config has none"
        )
    with GgufFile.open(path) as file:
        traits = read_traits(file, has_importance=False)
        tensors = list(file.tensors.values())
        for name in (BLOCK_TYPES[0], BLOCK_TYPES[-1]):
            plan = make_plan(find_mix(name), traits, tensors, pure=True, overrides=tensor_types)
            if not allow_requantize:  # of two, as one may be the type that weights have already
                check_requantization(plan, path)
        n_bytes = _file_bytes(file, plan)
        pinned = [parse_override(text) for text in tensor_types]
        weights, rest_data = {}, 0
        for tensor, planned in zip(tensors, plan.tensors, strict=True):
            if takes_types(tensor):
                weights[tensor.name] = _sizes(tensor, pinned, file.alignment)
                n_bytes -= align_up(planned.n_bytes, file.alignment)
            else:
                rest_data += planned.n_bytes
    n_elements = sum(planned.n_elements for planned in plan.tensors)
    return TypeOptions(path, weights, n_bytes, rest_data, n_elements)


def _file_bytes(file: GgufFile, plan: Plan) -> int:
    writer = GgufWriter(file.path, alignment=file.alignment)  # which writes nothing
    copy_keys(file, writer)
    add_type_keys(writer, plan.mix)
    for tensor in plan.tensors:
        writer.declare(tensor.name, tensor.shape, tensor.type)
    return writer.n_bytes


def _sizes(
    tensor: SourceTensor, pinned: Sequence[tuple[re.Pattern[str], str]], alignment: int
) -> dict[str, int]:
    row, n_rows = tensor.shape[-1], math.prod(tensor.shape[:-1])
    names = next(((name,) for pattern, name in pinned if pattern.search(tensor.name)), None)
    fitted = {fit_to_rows(name, row) for name in names or BLOCK_TYPES}
    if names is None:
        fitted |= _unharmed(tensor.type)
    return {t.name: align_up(t.row_bytes(row) * n_rows, alignment) for t in fitted}


def _unharmed(stored: TensorType) -> set[TensorType]:
    """The stored type, and for wider floats also the one of half the size."""
    return {stored, TENSOR_TYPES["f16"]} if stored.name == "f32" else {stored}
