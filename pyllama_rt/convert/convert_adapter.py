"""`convert_adapter`: a peft adapter as a GGUF file."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyllama_rt.convert.adapter import Adapter
from pyllama_rt.convert.apply_adapters import check_deltas, without_prefix
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

_SUFFIXES = (A_SUFFIX, B_SUFFIX)


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
        opened = without_prefix(opened, model)
        check_deltas(model, opened, {slot.hf: slot.shape for slot in model.slots})
        return _write(opened, model, target, progress)


@dataclass(frozen=True)
class _Pair:
    """What is added to one tensor of the file. deltas: one, for a stack one (or None) an expert."""

    name: str
    shape: tuple[int, ...]
    deltas: tuple[LowRank | None, ...]

    @property
    def known(self) -> list[LowRank]:
        """Those that the adapter has."""
        return [delta for delta in self.deltas if delta is not None]

    @property
    def rank(self) -> int:
        """The largest of all."""
        return max(delta.rank for delta in self.known)

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of `lora_a` and `lora_b`."""
        *stack, rows, columns = self.shape
        if self.name == EMBEDDING:
            return (rows, self.rank), (columns, self.rank)
        return (*stack, self.rank, columns), (*stack, rows, self.rank)

    @property
    def n_bytes(self) -> int:
        """Size of both matrices."""
        return sum(4 * math.prod(shape) for shape in self.shapes)

    def matrices(self, alpha: float) -> tuple[Floats, Floats]:
        """`lora_a` and `lora_b`. Ranks below the largest, and experts without, are filled with 0.

        Args: alpha: that of the file; what it does not say of a scale is multiplied into `lora_b`.
        """
        shape_a, shape_b = self.shapes
        a, b = np.zeros(shape_a, "<f4"), np.zeros(shape_b, "<f4")
        for number, delta in enumerate(self.deltas):
            if delta is None:
                continue
            left, right = delta.load()
            factor = np.float32(delta.scale * self.rank / alpha)
            if self.name == EMBEDDING:
                a[:], b[:] = left, right.T * factor
            else:
                a.reshape(-1, *shape_a[-2:])[number, : delta.rank] = right
                b.reshape(-1, *shape_b[-2:])[number, :, : delta.rank] = left * factor
        return a, b


def _write(
    adapter: Adapter, base: LoraBase, target: Path, progress: Progress | None
) -> ConvertedAdapter:
    pairs = list(_pairs(adapter, base))
    deltas = [delta for pair in pairs for delta in pair.known]
    alpha = _common_alpha(deltas)
    n_total, n_done = sum(pair.n_bytes for pair in pairs), 0
    norms = base.norms_digest()
    with GgufWriter(target) as writer:
        writer.add("general.architecture", base.architecture.name)
        writer.add(TYPE_KEY, ADAPTER)
        writer.add("general.name", adapter.path.resolve().name.encode("utf-8", "replace"))
        writer.add(KIND_KEY, LORA)
        writer.add(ALPHA_KEY, alpha, ValueType.FLOAT32)
        if norms is not None:
            writer.add(NORMS_KEY, norms)
        for pair in pairs:
            for suffix, shape in zip(_SUFFIXES, pair.shapes, strict=True):
                writer.declare(pair.name + suffix, shape, F32)
        for pair in pairs:
            for suffix, matrix in zip(_SUFFIXES, pair.matrices(alpha), strict=True):
                writer.write_tensor(pair.name + suffix, matrix)
            n_done += pair.n_bytes
            if progress is not None:
                progress(pair.name, n_done, n_total)
    return ConvertedAdapter(len(pairs), n_total, tuple(sorted({d.rank for d in deltas})))


def _pairs(adapter: Adapter, base: LoraBase) -> Iterator[_Pair]:
    """Those of the file, in the order of the base."""
    by_tensor: dict[str, list[Slot]] = {}
    for slot in base.slots:
        by_tensor.setdefault(slot.gguf, []).append(slot)
    for name, slots in by_tensor.items():
        found = ((slot, adapter.deltas.get(slot.hf)) for slot in slots)
        deltas = tuple(d and slot.between(d, "hf", "gguf") for slot, d in found)
        if any(deltas):
            stack = () if slots[0].expert is None else (len(slots),)
            yield _Pair(name, (*stack, *slots[0].shape), deltas)


def _common_alpha(deltas: Iterable[LowRank]) -> float:
    """What most pairs were scaled with, in the single precision of the file."""
    counts = Counter(float(np.float32(delta.scale * delta.rank)) for delta in deltas)
    return counts.most_common(1)[0][0]
