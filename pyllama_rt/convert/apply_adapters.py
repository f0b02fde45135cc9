"""What several adapters make of a base, tensor by tensor, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pyllama_rt.convert.adapter import Adapter, Layout
from pyllama_rt.convert.lazy_tensor import LazyTensor
from pyllama_rt.convert.lora_base import EMBEDDING, HEAD, LoraBase, Slot
from pyllama_rt.convert.low_rank import LowRank, MergedTensor, nth
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
    """What becomes of one tensor of a checkpoint, in the layout of the result.

    shape: in GGUF. source: the base's, or what replaces it.
    """

    slot: Slot
    shape: tuple[int, ...]
    source: LazyTensor
    deltas: tuple[LowRank, ...] = ()
    is_replaced: bool = False


def apply_adapters(base: LoraBase, adapters: Sequence[Adapter], layout: Layout) -> AppliedAdapters:
    """Every tensor of the base after all adapters, one after the other.

    Args: layout: names and row order of the result; "hf" is for bases that are in it.
    Raises: FormatError for adapters that do not fit the base; ConfigError if the vocabulary grows
        and no adapter brings it; UnsupportedError for a head of its own over a tied base.
    """
    changes = {slot.hf: _unchanged(base, slot, layout) for slot in base.slots}
    for adapter in adapters:
        _apply(without_prefix(adapter, base), base, changes, layout)
    _check_vocabulary(changes)
    embedding = _embedding(changes)
    rows, before = embedding.shape[0], embedding.slot.shape[0]
    tokenizer = next((a.tokenizer for a in reversed(adapters) if a.tokenizer is not None), None)
    if rows != before and tokenizer is None:
        raise ConfigError(
            f"{embedding.source.source}: the vocabulary grows from {before} to {rows} "
            "pieces, but no adapter brings a tokenizer; put the extended tokenizer.model into the "
            "adapter's folder (pyllama-rt merge-tokenizer makes one)"
        )
    return AppliedAdapters(
        tensors=tuple(_merged(base, changes, layout)),
        vocab_size=rows,
        grown_from=before if rows != before else None,
        tokenizer=tokenizer,
        n_changed=sum(bool(change.deltas) for change in changes.values()),
        n_replaced=sum(change.is_replaced for change in changes.values()),
    )


def without_prefix(adapter: Adapter, base: LoraBase) -> Adapter:
    """The adapter under the names of the base's table, without what may stand before them."""
    prefix = base.architecture.hf_prefix
    if adapter.layout == "gguf" or not prefix:
        return adapter
    return replace(
        adapter,
        deltas={name.removeprefix(prefix): delta for name, delta in adapter.deltas.items()},
        replacements={name.removeprefix(prefix): t for name, t in adapter.replacements.items()},
    )


def check_deltas(base: LoraBase, adapter: Adapter, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Whether every product fits.

    Args: shapes: in GGUF, of the base's tensors by their names in a checkpoint.
    Raises: FormatError naming what differs.
    """
    if adapter.gguf is not None:
        norms = None if adapter.gguf.base_norms is None else base.norms_digest()
        adapter.gguf.check_base(
            base.path, base.architecture.name, _whole_shapes(base, shapes), norms
        )
        return
    by_name = {slot.hf: slot for slot in base.slots}
    for name, delta in adapter.deltas.items():
        slot = _known(by_name, name, delta.source, base)
        shape = shapes[name][::-1] if slot.transposed else shapes[name]
        if delta.shape != shape:
            raise FormatError(
                f"{delta.source}: expected a product of shape {list(shape)}, as {base.path} has "
                f"{name}, found {list(delta.shape)}; the adapter belongs to another model"
            )


def _whole_shapes(
    base: LoraBase, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """By GGUF name, stacks as a whole."""
    found: dict[str, tuple[int, ...]] = {}
    for slot in base.slots:  # the last expert's number is one less than how many there are
        stack = () if slot.expert is None else (slot.expert + 1,)
        found[slot.gguf] = (*stack, *shapes[slot.hf])
    return found


def _unchanged(base: LoraBase, slot: Slot, layout: Layout) -> _Change:
    tensor = base.tensors[slot.gguf]
    part = tensor if slot.expert is None else nth(tensor, slot.expert)
    return _Change(slot, slot.shape, slot.in_layout("hf", part) if layout == "hf" else part)


def _apply(adapter: Adapter, base: LoraBase, changes: dict[str, _Change], layout: Layout) -> None:
    for name, tensor in adapter.replacements.items():
        if _is_copy_for_tied_head(name, adapter, base):
            continue
        change = _known(changes, name, tensor.source, base)
        change.shape = _replaced_shape(change.slot, tensor, base)
        change.source = change.slot.in_layout(layout, tensor)
        change.deltas, change.is_replaced = (), True
    check_deltas(base, adapter, {name: change.shape for name, change in changes.items()})
    for change in changes.values():
        slot = change.slot
        delta = adapter.deltas.get(slot.hf if adapter.layout == "hf" else slot.gguf)
        if delta is None:
            continue
        if adapter.layout == "gguf" and slot.expert is not None:
            delta = delta.part(slot.expert)
        change.deltas += (slot.between(delta, adapter.layout, layout),)


def _known(by_name: Mapping[str, T], name: str, source: str, base: LoraBase) -> T:
    if name not in by_name:
        raise FormatError(
            f"{source}: {base.path} has no tensor {shown(name)}{did_you_mean(name, by_name)}; the "
            "adapter belongs to another model"
        )
    return by_name[name]


def _replaced_shape(slot: Slot, tensor: LazyTensor, base: LoraBase) -> tuple[int, ...]:
    """The shape in GGUF of what replaces a tensor. Raises: FormatError if it does not fit."""
    rows, *columns = slot.shape[::-1] if slot.transposed else slot.shape
    expected = (tensor.shape[0] if slot.has_vocab_rows and tensor.shape else rows, *columns)
    if tensor.shape != expected or 0 in tensor.shape:
        sizes = ", ".join(map(str, ["…" if slot.has_vocab_rows else rows, *columns]))
        raise FormatError(
            f"{tensor.source}: expected shape [{sizes}] in place of {slot.hf} of {base.path}, "
            f"found {list(tensor.shape)}; the adapter belongs to another model"
        )
    return expected[::-1] if slot.transposed else expected


def _is_copy_for_tied_head(name: str, adapter: Adapter, base: LoraBase) -> bool:
    """Whether it is the embedding again, for a base without a head of its own.

    Raises: UnsupportedError for a head that differs.
    """
    head = next((slot for slot in base.absent if slot.gguf == HEAD), None)
    if head is None or name != head.hf:
        return False
    names = (slot.hf for slot in base.slots if slot.gguf == EMBEDDING)
    embedding = adapter.replacements.get(next(names, ""))
    tensor = adapter.replacements[name]
    if embedding is not None and embedding.data == tensor.data:
        return True
    raise UnsupportedError(
        f"{tensor.source}: {base.path} ties its head to the embedding, so an adapter that gives "
        "it another one is not supported; expected a copy of the adapter's embedding"
    )


def _embedding(changes: Mapping[str, _Change]) -> _Change:
    return next(change for change in changes.values() if change.slot.gguf == EMBEDDING)


def _check_vocabulary(changes: Mapping[str, _Change]) -> None:
    embedding = _embedding(changes)
    for change in changes.values():
        if change.slot.has_vocab_rows and change.shape[0] != embedding.shape[0]:
            raise FormatError(
                f"{change.source.source}: expected {embedding.shape[0]} rows, as "
                f"{embedding.source.source} has, found {change.shape[0]}; an adapter with new "
                "pieces must bring both the embedding and the head"
            )


def _merged(
    base: LoraBase, changes: Mapping[str, _Change], layout: Layout
) -> Iterator[MergedTensor]:
    """The tensors of the result, in the base's order."""
    by_tensor: dict[str, list[_Change]] = {}
    for change in changes.values():
        by_tensor.setdefault(change.slot.gguf, []).append(change)
    for name, tensor in base.tensors.items():
        parts = [
            MergedTensor(c.source.name, c.source.shape, tensor.type, c.source, c.deltas)
            for c in by_tensor.get(name, ())
        ]
        if layout == "hf":
            yield from parts  # what no checkpoint holds, GGUF's own tables, is left out
        elif not parts:
            yield MergedTensor(name, tensor.shape, tensor.type, tensor)
        elif by_tensor[name][0].slot.expert is None:
            yield parts[0]
        else:
            yield replace(parts[0], shape=tensor.shape, rest=tuple(parts[1:]))
