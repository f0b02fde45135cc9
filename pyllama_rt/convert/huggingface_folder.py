"""Writes a merged model as a Hugging Face directory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.convert.apply_adapters import AppliedAdapters
from pyllama_rt.convert.low_rank import MergedTensor
from pyllama_rt.convert.weight_shards import INDEXES
from pyllama_rt.convert.write import Progress
from pyllama_rt.errors import ConfigError, shown
from pyllama_rt.formats.atomic_folder import atomic_folder
from pyllama_rt.formats.safetensors_writer import DeclaredTensor, write_safetensors
from pyllama_rt.formats.tensor_types import TENSOR_TYPES
from pyllama_rt.quant.mixes import find_mix
from pyllama_rt.quant.plan import Plan, PlannedTensor
from pyllama_rt.small_file import read_small_file

SHARD_BYTES = 5_000_000_000
"""A file takes no more than so many bytes of tensors, unless a single one is larger."""

_DTYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
_TORCH_NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
_DTYPE_KEYS = ("torch_dtype", "dtype")

_TOKENIZER_FILES = (
    "tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "chat_template.json", "vocab.json", "merges.txt",
)  # fmt: skip
_MODEL_FILES = ("generation_config.json",)
_MAX_FILE_BYTES = 1 << 26


def plan_folder(outtype: str | None, own_type: str, tensors: Sequence[MergedTensor]) -> Plan:
    """Types of all tensors. Args: outtype: None for the types that they are stored in.

    Raises: ConfigError for types that such a directory cannot hold.
    """
    mix = find_mix(outtype or own_type)
    if mix.name not in _DTYPES:
        raise ConfigError(
            f"--outtype {shown(outtype)}: a Hugging Face folder holds {', '.join(_DTYPES)}; for "
            "other types write a file that ends in .gguf"
        )
    return Plan(
        mix,
        tuple(
            PlannedTensor(t.name, t.shape, t.type, chosen, chosen)
            for t in tensors
            for chosen in (t.type if outtype is None else TENSOR_TYPES[mix.name],)
        ),
    )


def write_folder(
    out: Path,
    base: Path,
    applied: AppliedAdapters,
    plan: Plan,
    config: Mapping[str, Any],
    *,
    n_threads: int | None,
    progress: Progress | None,
) -> None:
    """Writes tensors, config and tokenizer files, all of them or nothing.

    Args: base: where configs, and the tokenizer unless an adapter brings one, are copied from.
        config: of the base.
    Raises: ConfigError if `out` is taken; NumericsError for weights that do not fit their type.
    """
    values = dict(config)
    if applied.grown_from is not None:
        values["vocab_size"] = applied.vocab_size
    types = {planned.type.name for planned in plan.tensors}
    for key in _DTYPE_KEYS:
        if key in values and len(types) == 1:
            values[key] = _TORCH_NAMES[next(iter(types))]
    with atomic_folder(out) as folder:
        text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        _write(folder / "config.json", text.encode())
        for name in _MODEL_FILES:
            _copy(base / name, folder)
        for name in _TOKENIZER_FILES:
            _copy((applied.tokenizer or base) / name, folder)
        _write_shards(folder, applied.tensors, plan, n_threads, progress)


def _copy(source: Path, folder: Path) -> None:
    if source.exists():
        _write(folder / source.name, read_small_file(source, _MAX_FILE_BYTES))


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _write_shards(
    folder: Path,
    tensors: Sequence[MergedTensor],
    plan: Plan,
    n_threads: int | None,
    progress: Progress | None,
) -> None:
    n_total, n_done = plan.n_bytes, 0

    def counted(name: str, chunks: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        nonlocal n_done
        for chunk in chunks:
            yield chunk
            n_done += chunk.nbytes
            if progress is not None:
                progress(name, n_done, n_total)

    sources = {tensor.name: tensor for tensor in tensors}
    shards = _shards(plan)
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        is_whole = len(shards) == 1
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        name = "model.safetensors" if is_whole else name
        weight_map.update({planned.name: name for planned in shard})
        write_safetensors(
            folder / name,
            (
                (
                    DeclaredTensor(t.name, _DTYPES[t.type.name], t.shape),
                    counted(t.name, sources[t.name].encoded(t.type, n_threads)),
                )
                for t in shard
            ),
        )
    if len(shards) > 1:
        index = {"metadata": {"total_size": n_total}, "weight_map": weight_map}
        _write(folder / INDEXES[0], (json.dumps(index, indent=2) + "\n").encode())


def _shards(plan: Plan) -> list[list[PlannedTensor]]:
    """The tensors by file, in order."""
    shards: list[list[PlannedTensor]] = [[]]
    n_bytes = 0
    for planned in plan.tensors:
        if shards[-1] and n_bytes + planned.n_bytes > SHARD_BYTES:
            shards.append([])
            n_bytes = 0
        shards[-1].append(planned)
        n_bytes += planned.n_bytes
    return shards
