"""Which tensors go into which file of a split model."""

from __future__ import annotations

from collections.abc import Iterable

from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.gguf import GgufFile, TensorInfo, ValueType
from pyllama_rt.formats.gguf_reader import SPLIT_COUNT, SPLIT_NO, SPLIT_TENSORS
from pyllama_rt.formats.gguf_types import (
    ALIGNMENT_KEY,
    DEFAULT_ALIGNMENT,
    HEADER_BYTES,
    SCALARS,
    align_up,
)

Parts = list[list[TensorInfo]]

SPLIT_TYPES = {
    SPLIT_NO: ValueType.UINT16,
    SPLIT_COUNT: ValueType.UINT16,
    SPLIT_TENSORS: ValueType.INT32,
}
"""The keys of a part, with the types that llama.cpp insists on."""


def is_split_key(key: str) -> bool:
    """Whether a key says how a model is split, which a copy must say anew."""
    return key.startswith("split.")


def parts_by_count(file: GgufFile, max_tensors: int) -> Parts:
    """The tensors in the order of the model, `max_tensors` to a file."""
    infos = list(file.tensors.values())
    starts = range(0, max(1, len(infos)), max_tensors)
    return [infos[start : start + max_tensors] for start in starts]


def parts_by_size(file: GgufFile, max_bytes: int, keys: Iterable[str]) -> Parts:
    """The tensors in the order of the model, as many to a file as fit into `max_bytes`.

    The first file may hold the metadata alone.

    Args: keys: the metadata that go into the first file.
    Raises: ConfigError if a tensor, or the metadata, do not fit a file.
    """
    own = sum(8 + len(key) + 4 + SCALARS[kind].size for key, kind in SPLIT_TYPES.items())
    if file.alignment != DEFAULT_ALIGNMENT:
        own += 8 + len(ALIGNMENT_KEY) + 4 + 4
    copied = sum(
        8 + len(key.encode()) + len(file.metadata.encoded(key))
        for key in keys
        if key != ALIGNMENT_KEY or file.alignment == DEFAULT_ALIGNMENT
    )
    first = _Sizes(HEADER_BYTES + own + copied, file.alignment)
    if first.total > max_bytes:
        raise _too_small(max_bytes, "the metadata", first.total)
    parts: Parts = [[]]
    size = first
    for info in file.tensors.values():
        grown = size.with_tensor(info)
        if grown.total > max_bytes:
            grown = _Sizes(HEADER_BYTES + own, file.alignment).with_tensor(info)
            if grown.total > max_bytes:
                raise _too_small(max_bytes, f"tensor {info.name}", grown.total)
            parts.append([])
        parts[-1].append(info)
        size = grown
    return parts


class _Sizes:
    """The size of a file: header, metadata and directory, padding, data."""

    def __init__(self, n_head: int, alignment: int, n_data: int = 0) -> None:
        self._n_head = n_head
        self._alignment = alignment
        self._n_data = n_data

    @property
    def total(self) -> int:
        return align_up(self._n_head, self._alignment) + self._n_data

    def with_tensor(self, info: TensorInfo) -> _Sizes:
        row = 8 + len(info.name.encode()) + 4 + 8 * len(info.shape) + 4 + 8
        data = align_up(info.n_bytes, self._alignment)
        return _Sizes(self._n_head + row, self._alignment, self._n_data + data)


def _too_small(max_bytes: int, what: str, n_bytes: int) -> ConfigError:
    return ConfigError(
        f"files of up to {max_bytes} bytes are too small: {what} takes one of {n_bytes}"
    )
