"""Planned tensors to a GGUF file, one after the other, a few rows in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.atomic_file import same_file
from pyllama_rt.formats.gguf import GgufWriter, ValueType
from pyllama_rt.formats.tensor_types import TensorType
from pyllama_rt.quant.mixes import Mix
from pyllama_rt.quant.plan import Plan

Progress = Callable[[str, int, int], None]
"""Called with the tensor being written, the bytes written so far, and the bytes in all."""

FILE_TYPE = "general.file_type"
QUANTIZATION_VERSION = "general.quantization_version"
_VERSION = 2  # of the block layouts; every program in use writes this one


class EncodedTensor(Protocol):
    """A tensor that gives its bytes in any type, a few rows at a time."""

    def encoded(self, target: TensorType, n_threads: int | None) -> Iterator[NDArray[np.uint8]]:
        """The bytes of the tensor as `target`, chunk by chunk. Raises: NumericsError."""


def check_output(out: Path, sources: Iterable[Path]) -> None:
    """Raises ConfigError if writing `out` would replace one of the files that are read."""
    for source in sources:
        if same_file(out, source):
            raise ConfigError(
                f"{out}: the output would replace its own input {source}; choose another name"
            )


def add_type_keys(writer: GgufWriter, mix: Mix) -> None:
    """The two keys that say how the tensors are stored."""
    writer.add(FILE_TYPE, mix.file_type, ValueType.UINT32)
    writer.add(QUANTIZATION_VERSION, _VERSION, ValueType.UINT32)


def write_tensors(
    writer: GgufWriter,
    plan: Plan,
    tensors: Iterable[EncodedTensor],
    *,
    n_threads: int | None,
    progress: Progress | None,
) -> None:
    """Declare and write every tensor of `plan`; `tensors` are the same ones in the same order."""
    for planned in plan.tensors:
        writer.declare(planned.name, planned.shape, planned.type)
    n_total, n_done = plan.n_bytes, 0

    def counted(name: str, chunks: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        nonlocal n_done
        for chunk in chunks:
            yield chunk
            n_done += chunk.nbytes
            if progress is not None:
                progress(name, n_done, n_total)

    for planned, tensor in zip(plan.tensors, tensors, strict=True):
        chunks = tensor.encoded(planned.type, n_threads)
        writer.write_tensor(planned.name, counted(planned.name, chunks))
