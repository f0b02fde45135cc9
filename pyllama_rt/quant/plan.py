"""What a quantised file will hold: every tensor with type and size, before a byte is written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pyllama_rt.errors import ConfigError, shown
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, WEIGHT_TYPES, TensorType
from pyllama_rt.quant.mixes import (
    Mix,
    ModelTraits,
    choose_type,
    find_mix,
    fit_to_rows,
    is_convertible,
    parse_override,
)


class SourceTensor(Protocol):
    """What a plan asks of a tensor."""

    @property
    def name(self) -> str:
        """Its GGUF name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Outermost dimension first."""

    @property
    def type(self) -> TensorType:
        """The type that it is stored in."""


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """One tensor of the file to write.

    wanted: the type that was chosen; `type` differs where its blocks do not divide the rows.
    """

    name: str
    shape: tuple[int, ...]
    source: TensorType
    wanted: TensorType
    type: TensorType

    @property
    def n_elements(self) -> int:
        """The product of the shape."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Size of the data, without padding."""
        return self.type.row_bytes(self.shape[-1]) * math.prod(self.shape[:-1])


@dataclass(frozen=True, slots=True)
class Plan:
    """All tensors of the file to write, in order."""

    mix: Mix
    tensors: tuple[PlannedTensor, ...]

    @property
    def n_bytes(self) -> int:
        """Size of all tensor data."""
        return sum(t.n_bytes for t in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Mean over all elements."""
        return 8 * self.n_bytes / max(1, sum(t.n_elements for t in self.tensors))

    @property
    def fallbacks(self) -> tuple[PlannedTensor, ...]:
        """Tensors whose rows the chosen type does not divide."""
        return tuple(t for t in self.tensors if t.type != t.wanted)


def make_plan(
    mix: Mix,
    model: ModelTraits,
    tensors: Iterable[SourceTensor],
    *,
    pure: bool = False,
    chosen: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    small_type: TensorType | None = None,
) -> Plan:
    """Choose the type of every tensor.

    Args:
        pure: the mix's base type for every convertible tensor.
        chosen: types by name in place of the mix's choices.
        overrides: `REGEX=TYPE`; the first whose expression is found in a name wins.
        small_type: type of what no mix converts (norms, biases); None: as it is stored.
    Raises: ConfigError for an override that is malformed or matches nothing, or if `chosen` lacks
        a convertible tensor.
    """
    patterns = [parse_override(text) for text in overrides]
    used: set[int] = set()
    planned = []
    for tensor in tensors:
        if takes_types(tensor):
            if chosen is None:
                wanted = choose_type(tensor.name, mix, model, pure=pure)
            else:
                wanted = _chosen_type(tensor.name, chosen)
            for i, (pattern, type_name) in enumerate(patterns):
                if pattern.search(tensor.name):
                    used.add(i)
                    wanted = type_name
                    break
            target = fit_to_rows(wanted, tensor.shape[-1])
        else:
            target = small_type or tensor.type
            wanted = target.name
        planned.append(
            PlannedTensor(tensor.name, tensor.shape, tensor.type, TENSOR_TYPES[wanted], target)
        )
    for i, text in enumerate(overrides):
        if i not in used:
            raise ConfigError(
                f"tensor type {shown(text)}: no weight matches that an earlier one does not; "
                "list the names with --dry-run"
            )
    return Plan(mix, tuple(planned))


def takes_types(tensor: SourceTensor) -> bool:
    """Whether the type of a tensor is anyone's choice; others stay as they are."""
    return is_convertible(tensor.name, tensor.shape) and tensor.type.name in WEIGHT_TYPES


def mix_of(chosen: Mapping[str, str], tensors: Iterable[SourceTensor]) -> Mix:
    """The mix that stands in a file's metadata for types that are no mix's choice.

    That is the one whose base type holds most weights.
    """
    counts = Counter({"f32": 0})
    for tensor in tensors:
        if takes_types(tensor):
            counts[_chosen_type(tensor.name, chosen)] += math.prod(tensor.shape)
    return replace(find_mix(counts.most_common(1)[0][0]), name="types by choice")


def _chosen_type(name: str, chosen: Mapping[str, str]) -> str:
    found = chosen.get(name)
    if found not in WEIGHT_TYPES:
        raise ConfigError(
            f"types by name: expected one of {', '.join(WEIGHT_TYPES)} for {name}, found "
            f"{shown(found)}"
        )
    return found


def check_requantization(plan: Plan, source: object) -> None:
    """Raises ConfigError if a tensor that is quantised already would be quantised once more.

    Written as floats it keeps what is left of it.
    """
    for tensor in plan.tensors:
        if tensor.source.is_quantized and tensor.type.is_quantized and tensor.type != tensor.source:
            raise ConfigError(
                f"{source}: tensor {tensor.name} is {tensor.source.name} already and would lose "
                f"quality a second time as {tensor.type.name}; start from an F16, BF16 or F32 "
                "file, or pass --allow-requantize"
            )
