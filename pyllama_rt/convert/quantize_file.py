"""`quantize_file`: a GGUF file with its weights in other types; `plan_file`: what it will be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.convert.checkpoint import naming
from pyllama_rt.convert.huggingface import expected_tensors, read_config
from pyllama_rt.convert.lazy_tensor import LazyTensor
from pyllama_rt.convert.split_plan import is_split_key
from pyllama_rt.convert.write import (
    FILE_TYPE,
    QUANTIZATION_VERSION,
    EncodedTensor,
    Progress,
    add_type_keys,
    check_output,
    write_tensors,
)
from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter
from pyllama_rt.formats.gguf_adapter import check_is_model
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, TensorType
from pyllama_rt.models.registry import architecture
from pyllama_rt.quant.guidance import Guidance, guidance_for, takes_guidance
from pyllama_rt.quant.importance import ImportanceMatrix
from pyllama_rt.quant.mixes import ModelTraits, find_mix
from pyllama_rt.quant.plan import Plan, SourceTensor, check_requantization, make_plan, mix_of

TypeChoice = str | Mapping[str, str]
"""A type or mix for all weights, or a type for each by its name."""


def quantize_file(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    type: TypeChoice,
    *,
    pure: bool = False,
    tensor_types: Sequence[str] = (),
    allow_requantize: bool = False,
    importance: ImportanceMatrix | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Writes a GGUF file again with its weights as `type`, whole or not at all.

    Args:
        source: The file, or any file of a split model. out: The file to write.
        type: A type or mix, as q8_0 or q4_k_m, in any letter case; or the type of each weight.
        pure: One type for all weights instead of the mix's choice for each.
        tensor_types: `REGEX=TYPE` for tensors whose names match; the first that matches wins.
        allow_requantize: Take weights that are quantised already to other blocks, which adds to
            their error; back to floats they may always be written.
        importance: What enters the weights (`read_importance`), so that errors fall where they
            cost least; weights that it does not name are taken as without it.
        n_threads: Threads that quantise; None for all cores. The file does not depend on it.
    Returns:
        What was written.
    Raises:
        PyllamaRtError of the class that fits: one line with file, expectation and finding.
    """
    target = Path(out)
    with GgufFile.open(source) as file:
        check_output(target, file.paths)
        plan = _plan_gguf(file, type, pure, tensor_types, has_importance=importance is not None)
        if not allow_requantize:
            check_requantization(plan, file.path)
        tensors = list(source_tensors(file, importance).values())
        with GgufWriter(target, alignment=file.alignment) as writer:
            copy_keys(file, writer)
            add_type_keys(writer, plan.mix)
            write_tensors(writer, plan, tensors, n_threads=n_threads, progress=progress)
    return plan


def plan_file(
    source: str | os.PathLike[str],
    type: TypeChoice,
    *,
    pure: bool = False,
    tensor_types: Sequence[str] = (),
    allow_requantize: bool = False,
    has_importance: bool = False,
) -> Plan:
    """What `quantize_file` would write.

    Args: source: A GGUF file, or a Hugging Face `config.json`, whose tensors are those of the
        architecture without optional biases. has_importance: Whether there is an importance
        matrix, with which some mixes choose other types.
    Raises: PyllamaRtError, as `quantize_file`.
    """
    path = Path(source)
    if path.suffix == ".json":
        return _plan_config(path, type, pure, tensor_types, has_importance=has_importance)
    with GgufFile.open(path) as file:
        plan = _plan_gguf(file, type, pure, tensor_types, has_importance=has_importance)
    if not allow_requantize:
        check_requantization(plan, path)
    return plan


@dataclass(frozen=True, slots=True)
class _Promised:
    """A tensor that a config promises."""

    name: str
    shape: tuple[int, ...]
    type: TensorType


def _plan_config(
    path: Path, type: TypeChoice, pure: bool, overrides: Sequence[str], *, has_importance: bool
) -> Plan:
    arch, config, reader = read_config(path)
    is_tied = reader.get_bool("tie_word_embeddings", False)
    tensors = [
        _Promised(expected.gguf, expected.shape, TENSOR_TYPES["f32"])
        for expected in expected_tensors(arch, config)
        if not expected.spec.optional or (expected.gguf == "output.weight" and not is_tied)
    ]
    keys = {"general.architecture": arch.name, **arch.metadata(config)}
    names = (tensor.name for tensor in tensors)
    traits = ModelTraits.of(keys, names, has_importance=has_importance)
    return _plan(type, traits, tensors, pure, overrides)


def _plan_gguf(
    file: GgufFile, type: TypeChoice, pure: bool, overrides: Sequence[str], *, has_importance: bool
) -> Plan:
    traits = read_traits(file, has_importance=has_importance)
    return _plan(type, traits, list(file.tensors.values()), pure, overrides)


def read_traits(file: GgufFile, *, has_importance: bool) -> ModelTraits:
    """What is asked of a file before its weights are quantised.

    Raises: ConfigError for a file without tensors; FormatError for one that is no model;
        UnsupportedError for architectures that are not known.
    """
    if not file.tensors:
        raise ConfigError(f"{file.path}: the file holds no tensors to quantise")
    check_is_model(file)
    # What must keep its precision differs between architectures; of unknown ones nobody knows.
    architecture(file.get_str("general.architecture"), file.path)
    with naming(file.path):
        return ModelTraits.of(file.metadata, file.tensors, has_importance=has_importance)


def _plan(
    type: TypeChoice,
    traits: ModelTraits,
    tensors: Sequence[SourceTensor],
    pure: bool,
    overrides: Sequence[str],
) -> Plan:
    if isinstance(type, str):
        return make_plan(find_mix(type), traits, tensors, pure=pure, overrides=overrides)
    mix = mix_of(type, tensors)
    return make_plan(mix, traits, tensors, chosen=type, overrides=overrides)


def copy_keys(file: GgufFile, writer: GgufWriter) -> None:
    """Everything but what changes: the types of the tensors and, for split models, the parts."""
    for key in file.metadata:
        if key not in (FILE_TYPE, QUANTIZATION_VERSION) and not is_split_key(key):
            writer.copy(file.metadata, key)


@dataclass(frozen=True, slots=True)
class _Guided:
    """A tensor that is quantised by what is known of its inputs."""

    tensor: LazyTensor
    importance: ImportanceMatrix

    def encoded(self, target: TensorType, n_threads: int | None) -> Iterator[NDArray[np.uint8]]:
        """As LazyTensor says. Raises: also ConfigError for the matrix of another model."""
        tensor = self.tensor
        guidance: tuple[Guidance, ...] = ()
        if takes_guidance(target):
            guidance = guidance_for(self.importance, tensor.name, tensor.shape, n_threads)
        yield from tensor.encoded(target, n_threads, guidance)


def source_tensors(file: GgufFile, importance: ImportanceMatrix | None) -> dict[str, EncodedTensor]:
    """The tensors of a file by name, in its order, to be encoded by what is known of their inputs.

    They may be used while the file is open.
    """
    found: dict[str, EncodedTensor] = {}
    for info in file.tensors.values():
        tensor = LazyTensor(
            name=info.name,
            shape=info.shape,
            type=info.type,
            data=file.tensor_data(info.name),
            source=f"{file.path}: tensor {info.name}",
        )
        found[info.name] = tensor if importance is None else _Guided(tensor, importance)
    return found
