"""`GgufWriter`: streams a GGUF version 3 file to disk, whole or not at all."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.errors import ConfigError, ShapeError, StateError, shown
from pyllama_rt.formats.atomic_file import atomic_file
from pyllama_rt.formats.gguf_metadata import Metadata
from pyllama_rt.formats.gguf_types import (
    ALIGNMENT_KEY,
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_ALIGNMENT,
    MAX_DIMS,
    MAX_KEY_BYTES,
    MAX_KEYS,
    MAX_NAME_BYTES,
    MAX_TENSORS,
    MIN_ALIGNMENT,
    VERSION,
    ValueType,
    align_up,
)
from pyllama_rt.formats.gguf_values import encode_string, encode_value
from pyllama_rt.formats.tensor_types import TensorType, tensor_type

Chunk: TypeAlias = "bytes | bytearray | memoryview | NDArray[np.generic]"


class GgufWriter:
    """Writes metadata, then the tensor directory, then the data, in a `with` statement.

    Call `add` for every key and `declare` for every tensor, then `write_tensor` in the order of the
    declarations. The end of the `with` block puts the file in place; an exception inside it leaves
    the destination as it was.
    """

    def __init__(self, path: str | os.PathLike[str], *, alignment: int = DEFAULT_ALIGNMENT) -> None:
        """Prepare; the disk is first touched by the `with` statement.

        Raises: ConfigError for an alignment that is not a power of two from 8 to 2^20.
        """
        if alignment & (alignment - 1) or not MIN_ALIGNMENT <= alignment <= MAX_ALIGNMENT:
            raise ConfigError(
                f"alignment: expected a power of two from {MIN_ALIGNMENT} to {MAX_ALIGNMENT}, "
                f"found {alignment}"
            )
        self.path = Path(path)
        self.alignment = alignment
        self._stack = ExitStack()
        self._file: BinaryIO | None = None
        self._metadata: dict[str, bytes] = {}
        self._declared: dict[str, tuple[tuple[int, ...], TensorType, int]] = {}
        self._pending: list[str] | None = None  # names left to write, last first, once data began
        if alignment != DEFAULT_ALIGNMENT:
            self.add(ALIGNMENT_KEY, alignment, ValueType.UINT32)

    def __enter__(self) -> GgufWriter:
        """Create the temporary file. Raises: ConfigError, as `atomic_file`."""
        self._file = self._stack.enter_context(atomic_file(self.path))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the file, or drop it if an exception passes or a tensor was not written."""
        with self._stack:
            if error is not None:
                self._stack.__exit__(kind, error, trace)
                return
            pending = self._begin_data()
            if pending:
                raise StateError(f"{self.path}: tensor {pending[-1]!r} was never written")
        self._file = None

    def add(
        self,
        key: str,
        value: object,
        value_type: ValueType | None = None,
        element_type: ValueType | None = None,
    ) -> None:
        """Add a metadata key.

        Args:
            value: bool, int, float, str, bytes (text as it is), a list or tuple of one of these, or
                a NumPy number or one-dimensional array.
            value_type, element_type: types in the file; inferred where None (see `encode_value`).

        Raises: ConfigError for a bad or repeated key or a value without such a type.
        """
        try:
            encoded = encode_value(value, value_type, element_type)
        except ConfigError as error:
            raise ConfigError(f"{self.path}: metadata key {shown(key)}: {error}") from None
        self._add_encoded(key, encoded)

    def copy(self, metadata: Metadata, key: str) -> None:
        """Add a key exactly as another file has it, text that is not UTF-8 included.

        Raises: KeyError; ConfigError for a repeated key.
        """
        self._add_encoded(key, metadata.encoded(key))

    def declare(self, name: str, shape: Sequence[int], type: TensorType | str) -> None:
        """Add a tensor to the directory.

        Args:
            shape: outermost dimension first. type: a type or its name.

        Raises: ConfigError for a bad or repeated name; ShapeError for a shape that the format or
            the type cannot hold; StateError once data is being written.
        """
        self._check_open_for("declare tensors")
        self._check_name(name, "tensor name", MAX_NAME_BYTES)
        if name in self._declared or len(self._declared) >= MAX_TENSORS:
            raise ConfigError(f"{self.path}: tensor {name!r} is declared twice or one too many")
        type_ = tensor_type(type) if isinstance(type, str) else type
        dims = tuple(int(dim) for dim in shape)
        if not 1 <= len(dims) <= MAX_DIMS or min(dims) < 1 or math.prod(dims) >= 1 << 60:
            raise ShapeError(
                f"{self.path}: tensor {name!r}: expected 1 to {MAX_DIMS} dimensions of at least 1, "
                f"found {shown(dims)}"
            )
        if dims[-1] % type_.block_size:
            raise ShapeError(
                f"{self.path}: tensor {name!r}: rows of {dims[-1]} are no multiple of "
                f"{type_.block_size}, the block size of {type_.name}; choose another type"
            )
        n_bytes = type_.row_bytes(dims[-1]) * math.prod(dims[:-1])
        self._declared[name] = (dims, type_, n_bytes)

    @property
    def n_bytes(self) -> int:
        """Size of the whole file, with the keys and tensors that it has up to now."""
        n_head = align_up(sum(map(len, self._head())), self.alignment)
        sizes = (align_up(n_bytes, self.alignment) for *_, n_bytes in self._declared.values())
        return n_head + sum(sizes)

    def write_tensor(self, name: str, data: Chunk | Iterable[Chunk]) -> None:
        """Write the data of the next declared tensor.

        Args:
            data: its bytes, in one buffer or in pieces of any size.

        Raises: StateError if another tensor is due; ShapeError if the size is not the declared one.
        """
        pending = self._begin_data()
        if not pending or pending[-1] != name:
            due = repr(pending[-1]) if pending else "nothing"
            raise StateError(f"{self.path}: tensor {name!r} was written where {due} was due")
        n_bytes = self._declared[name][2]
        n_written = 0
        for chunk in _chunks(data):
            n_written += chunk.nbytes
            if n_written > n_bytes:
                break
            self._write(chunk)
        if n_written != n_bytes:
            more = " or more" if n_written > n_bytes else ""
            raise ShapeError(
                f"{self.path}: tensor {name!r}: expected {n_bytes} bytes, found {n_written}{more}"
            )
        self._pad(n_bytes)
        pending.pop()

    def _add_encoded(self, key: str, encoded: bytes) -> None:
        self._check_open_for("add metadata")
        self._check_name(key, "metadata key", MAX_KEY_BYTES)
        known = self._metadata.get(key)
        if key == ALIGNMENT_KEY and encoded == known:
            return
        if known is not None or len(self._metadata) >= MAX_KEYS:
            raise ConfigError(f"{self.path}: metadata key {key!r} is added twice or one too many")
        if key == ALIGNMENT_KEY and encoded != encode_value(self.alignment, ValueType.UINT32, None):
            raise ConfigError(
                f"{self.path}: {key} differs from the writer's alignment, {self.alignment}"
            )
        self._metadata[key] = encoded

    def _check_open_for(self, action: str) -> None:
        if self._pending is not None:
            raise StateError(f"{self.path}: too late to {action}: the data has begun")

    def _check_name(self, name: str, what: str, limit: int) -> None:
        # So is no lone surrogate, which would otherwise fail after hours of conversion.
        is_clean = name and name.isprintable()
        if not is_clean or len(name.encode()) > limit:
            raise ConfigError(
                f"{self.path}: {what}: expected 1 to {limit} bytes of text without control "
                f"characters, found {shown(name)}"
            )

    def _begin_data(self) -> list[str]:
        """Write header, metadata and directory, once; returns the names still to write."""
        if self._pending is not None:
            return self._pending
        self._pending = list(reversed(self._declared))
        self._pad(sum(map(self._write, self._head())))
        return self._pending

    def _head(self) -> Iterator[bytes]:
        """Header, metadata and directory, without the padding after them."""
        yield MAGIC + struct.pack("<IQQ", VERSION, len(self._declared), len(self._metadata))
        for key, encoded in self._metadata.items():
            yield encode_string(key)
            yield encoded
        offset = 0
        for name, (dims, type_, n_bytes) in self._declared.items():
            yield encode_string(name)
            yield struct.pack(
                f"<I{len(dims)}QIQ", len(dims), *reversed(dims), type_.gguf_id, offset
            )
            offset += align_up(n_bytes, self.alignment)

    def _write(self, data: bytes | memoryview) -> int:
        if self._file is None:
            raise StateError(f"{self.path}: the writer is used outside its with statement")
        return self._file.write(data)

    def _pad(self, n_bytes: int) -> None:
        self._write(bytes(align_up(n_bytes, self.alignment) - n_bytes))


def _chunks(data: Chunk | Iterable[Chunk]) -> Iterable[memoryview]:
    """Flat views of one buffer or of several."""
    if isinstance(data, (bytes, bytearray, memoryview, np.ndarray)):
        data = (data,)
    for chunk in data:
        if isinstance(chunk, np.ndarray):
            view = np.ascontiguousarray(chunk).data
        else:
            view = memoryview(chunk)
        yield view if view.nbytes == 0 else view.cast("B")
