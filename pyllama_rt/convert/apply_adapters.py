"""What several adapters make of a base, tensor by tensor, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pyllama_rt.convert.adapter import Adapter, Layout
from pyllama_rt.convert.lazy_tensor import LazyTensor
from pyllama_rt.convert.lora_base import EMBEDDING, HEAD, LoraBase, Slot
from pyllama_rt.convert.low_rank import LowRank, MergedTensor
from pyllama_rt.errors import ConfigError, FormatError, UnsupportedError, did_you_mean, shown

T = TypeVar("T")


@dataclass(frozen=True)
class AppliedAdapters:
    """The result, whose numbers come when they are written.

    tensors: all of the base, in its order. vocab_size: rows of the embedding.
    grown_from: rows before, None if they did not change. tokenizer: the folder of the vocabulary
    that goes with them, None: the base's. n_changed, n_replaced: tensors.
    """

    tensors: tuple[MergedTensor, ...]
    vocab_size: int
    grown_from: int | None
    tokenizer: Path | None
    n_changed: int
    n_replaced: int


@dataclass
class _Change:
    """What becomes of one tensor. source: the base's, or what replaces it."""

    slot: Slot
    source: LazyTensor
    deltas: tuple[LowRank, ...] = ()
    is_replaced: bool = False


def apply_adapters(base: LoraBase, adapters: Sequence[Adapter], layout: Layout) -> AppliedAdapters:
    """Every tensor of the base after all adapters, one after the other.

    Args: layout: names and row order of the result.
    Raises: FormatError for adapters that do not fit the base; ConfigError if the vocabulary grows
        and no adapter brings it; UnsupportedError for a head of its own over a tied base.
    """
    changes: dict[str, _Change] = {}
    for slot in base.slots:
        source = base.tensors[slot.gguf]
        if layout == "hf":  # a checkpoint's own row order is what GGUF's is made from
            source = replace(source, name=slot.hf, order=None)
        changes[slot.gguf] = _Change(slot, source)
    for adapter in adapters:
        _apply(adapter, base, changes, layout)
    _check_vocabulary(changes)
    rows, before = changes[EMBEDDING].source.shape[0], _slot(base, EMBEDDING).shape[0]
    tokenizer = next((a.tokenizer for a in reversed(adapters) if a.tokenizer is not None), None)
    if rows != before and tokenizer is None:
        raise ConfigError(
            f"{changes[EMBEDDING].source.source}: the vocabulary grows from {before} to {rows} "
            "pieces, but no adapter brings a tokenizer; put the extended tokenizer.model into the "
            "adapter's folder (pyllama-rt merge-tokenizer makes one)"
        )
    return AppliedAdapters(
        tensors=tuple(_merged(t, changes.get(t.name)) for t in base.tensors.values()),
        vocab_size=rows,
        grown_from=before if rows != before else None,
        tokenizer=tokenizer,
        n_changed=sum(bool(change.deltas) for change in changes.values()),
        n_replaced=sum(change.is_replaced for change in changes.values()),
    )


def check_adapter(base: LoraBase, adapter: Adapter) -> None:
    """Whether an adapter fits the base as it is. Raises: FormatError naming what differs."""
    shapes = {slot.gguf: slot.shape for slot in base.slots}
    _check(base, adapter, shapes)


def _apply(adapter: Adapter, base: LoraBase, changes: dict[str, _Change], layout: Layout) -> None:
    by_name = {change.slot.name(adapter.layout): change for change in changes.values()}
    for name, tensor in adapter.replacements.items():
        if _is_copy_for_tied_head(name, adapter, base):
            continue
        change = _known(by_name, name, tensor.source, base)
        _check_replacement(change.slot, tensor, base)
        order = change.slot.order_between(adapter.layout, layout)
        change.source = replace(tensor, name=change.source.name, order=order)
        change.deltas, change.is_replaced = (), True
    _check(base, adapter, {gguf: change.source.shape for gguf, change in changes.items()})
    for name, delta in adapter.deltas.items():
        change = by_name[name]
        order = change.slot.order_between(adapter.layout, layout)
        change.deltas += (replace(delta, order=order),)


def _check(base: LoraBase, adapter: Adapter, shapes: dict[str, tuple[int, ...]]) -> None:
    """Whether every product fits; shapes: of the base's tensors by GGUF name."""
    if adapter.gguf is not None:
        norms = None if adapter.gguf.base_norms is None else base.norms_digest()
        adapter.gguf.check_base(base.path, base.architecture.name, shapes, norms)
        return
    by_name = {slot.name(adapter.layout): slot for slot in base.slots}
    for name, delta in adapter.deltas.items():
        slot = _known(by_name, name, delta.source, base)
        if delta.shape != shapes[slot.gguf]:
            raise FormatError(
                f"{delta.source}: expected a product of shape {list(shapes[slot.gguf])}, as "
                f"{base.path} has {name}, found {list(delta.shape)}; the adapter belongs to "
                "another model"
            )


def _known(by_name: dict[str, T], name: str, source: str, base: LoraBase) -> T:
    if name not in by_name:
        raise FormatError(
            f"{source}: {base.path} has no tensor {shown(name)}{did_you_mean(name, by_name)}; the "
            "adapter belongs to another model"
        )
    return by_name[name]


def _check_replacement(slot: Slot, tensor: LazyTensor, base: LoraBase) -> None:
    rows, *columns = slot.shape
    expected = (tensor.shape[0] if slot.has_vocab_rows and tensor.shape else rows, *columns)
    if tensor.shape != expected or 0 in tensor.shape:
        sizes = ", ".join(map(str, ["…" if slot.has_vocab_rows else rows, *columns]))
        raise FormatError(
            f"{tensor.source}: expected shape [{sizes}] in place of {slot.hf} of {base.path}, "
            f"found {list(tensor.shape)}; the adapter belongs to another model"
        )


def _is_copy_for_tied_head(name: str, adapter: Adapter, base: LoraBase) -> bool:
    """Whether it is the embedding again, for a base without a head of its own.

    Raises: UnsupportedError for a head that differs.
    """
    head = next((slot for slot in base.absent if slot.gguf == HEAD), None)
    if head is None or name != head.name(adapter.layout):
        return False
    embedding = adapter.replacements.get(_slot(base, EMBEDDING).name(adapter.layout))
    tensor = adapter.replacements[name]
    if embedding is not None and embedding.data == tensor.data:
        return True
    raise UnsupportedError(
        f"{tensor.source}: {base.path} ties its head to the embedding, so an adapter that gives "
        "it another one is not supported; expected a copy of the adapter's embedding"
    )


def _check_vocabulary(changes: dict[str, _Change]) -> None:
    embedding = changes[EMBEDDING]
    for change in changes.values():
        rows = change.source.shape[0]
        if change.slot.has_vocab_rows and rows != embedding.source.shape[0]:
            raise FormatError(
                f"{change.source.source}: expected {embedding.source.shape[0]} rows, as "
                f"{embedding.source.source} has, found {rows}; an adapter with new pieces must "
                "bring both the embedding and the head"
            )


def _merged(tensor: LazyTensor, change: _Change | None) -> MergedTensor:
    """Args: tensor: the base's. change: None for tensors that no adapter may name."""
    if change is None:
        return MergedTensor(tensor.name, tensor.shape, tensor.type, tensor)
    source = change.source
    return MergedTensor(source.name, source.shape, tensor.type, source, change.deltas)


def _slot(base: LoraBase, gguf: str) -> Slot:
    return next(slot for slot in base.slots if slot.gguf == gguf)
