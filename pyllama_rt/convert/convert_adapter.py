"""`convert_adapter`: a peft adapter as a GGUF file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyllama_rt.convert.adapter import Adapter
from pyllama_rt.convert.apply_adapters import check_adapter
from pyllama_rt.convert.lora_base import EMBEDDING, LoraBase, Slot, open_shapes
from pyllama_rt.convert.low_rank import F32, Floats, LowRank
from pyllama_rt.convert.peft_adapter import open_peft_adapter
from pyllama_rt.convert.write import Progress, check_output
from pyllama_rt.errors import ConfigError, UnsupportedError
from pyllama_rt.formats.gguf import GgufWriter, ValueType
from pyllama_rt.formats.gguf_adapter import (
    A_SUFFIX,
    ADAPTER,
    ALPHA_KEY,
    B_SUFFIX,
    KIND_KEY,
    LORA,
    NORMS_KEY,
    TYPE_KEY,
)


@dataclass(frozen=True)
class ConvertedAdapter:
    """What was written. n_pairs: tensors that it changes. n_bytes: size of the matrices."""

    n_pairs: int
    n_bytes: int
    ranks: tuple[int, ...]


def convert_adapter(
    adapter: str | os.PathLike[str],
    base: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> ConvertedAdapter:
    """Writes a LoRA adapter as a GGUF file for use at run time, whole or not at all.

    The matrices are stored in f32, rows in the order of GGUF; scales that one alpha for all pairs
    cannot say (rank-stabilised ones, patterns) are multiplied into `lora_b`.

    Args:
        adapter: A folder that peft saved.
        base: The model that it belongs to: a GGUF file or a Hugging Face directory, of which
            config.json alone will do.
        out: The file to write; an older one is replaced.
    Raises:
        UnsupportedError for adapters that replace tensors, which no such file can say; else
        PyllamaRtError of the class that fits: one line with file, expectation and finding.
    """
    folder, target = Path(adapter), Path(out)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: expected the folder of a peft adapter, found none")
    with ExitStack() as stack:
        opened = open_peft_adapter(folder, stack)
        model = open_shapes(Path(base), stack)
        check_output(target, (*model.files, *opened.files))
        for tensor in opened.replacements.values():
            raise UnsupportedError(
                f"{tensor.source}: an adapter file can only add to tensors, not replace them; "
                "merge it into the base with pyllama-rt merge-lora"
            )
        check_adapter(model, opened)
        return _write(opened, model, target, progress)


def _write(
    adapter: Adapter, base: LoraBase, target: Path, progress: Progress | None
) -> ConvertedAdapter:
    pairs = [(slot, adapter.deltas[slot.hf]) for slot in base.slots if slot.hf in adapter.deltas]
    alpha = _common_alpha(delta for _, delta in pairs)
    sizes = {slot.gguf: _n_bytes(delta) for slot, delta in pairs}
    n_total, n_done = sum(sizes.values()), 0
    norms = base.norms_digest()
    with GgufWriter(target) as writer:
        writer.add("general.architecture", base.architecture.name)
        writer.add(TYPE_KEY, ADAPTER)
        writer.add("general.name", adapter.path.resolve().name.encode("utf-8", "replace"))
        writer.add(KIND_KEY, LORA)
        writer.add(ALPHA_KEY, alpha, ValueType.FLOAT32)
        if norms is not None:
            writer.add(NORMS_KEY, norms)
        for slot, delta in pairs:
            for suffix, shape in zip((A_SUFFIX, B_SUFFIX), _shapes(slot, delta), strict=True):
                writer.declare(slot.gguf + suffix, shape, F32)
        for slot, delta in pairs:
            for suffix, matrix in zip(
                (A_SUFFIX, B_SUFFIX), _matrices(slot, delta, alpha), strict=True
            ):
                writer.write_tensor(slot.gguf + suffix, np.ascontiguousarray(matrix, "<f4"))
            n_done += sizes[slot.gguf]
            if progress is not None:
                progress(slot.gguf, n_done, n_total)
    return ConvertedAdapter(len(pairs), n_total, tuple(sorted({d.rank for _, d in pairs})))


def _common_alpha(deltas: Iterable[LowRank]) -> float:
    """What most pairs were scaled with, in the single precision of the file."""
    counts = Counter(float(np.float32(delta.scale * delta.rank)) for delta in deltas)
    return counts.most_common(1)[0][0]


def _n_bytes(delta: LowRank) -> int:
    return 4 * delta.rank * (delta.shape[0] + delta.shape[1])


def _shapes(slot: Slot, delta: LowRank) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, columns = delta.shape
    if slot.gguf == EMBEDDING:
        return (rows, delta.rank), (columns, delta.rank)
    return (delta.rank, columns), (rows, delta.rank)


def _matrices(slot: Slot, delta: LowRank, alpha: float) -> tuple[Floats, Floats]:
    """`lora_a` and `lora_b` of the file."""
    left, right = delta.load()
    if slot.order is not None:
        left = left[slot.order]
    factor = np.float32(delta.scale * delta.rank / alpha)
    if slot.gguf == EMBEDDING:
        return left, right.T * factor
    return right, left * factor
