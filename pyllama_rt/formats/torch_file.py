"""Reader of the zip files of `torch.save`: a dictionary of tensors, and no code from the file.

The archive holds `data.pkl`, which describes the tensors, and one member `data/KEY` for each
storage. A tensor is a view of a storage; several may share one.
Source: `_save` in torch/serialization.py and `_rebuild_tensor_v2` in torch/_utils.py, PyTorch 2.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from pyllama_rt.errors import FormatError, UnsupportedError, shown
from pyllama_rt.formats.pickle_machine import Global, PickleMachine
from pyllama_rt.formats.stored_zip import Member, read_stored_zip
from pyllama_rt.formats.tensor_file import MAX_DIMS, StoredTensor, TensorFile

MAX_PICKLE_BYTES = 1 << 25

_DTYPES = {
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "DoubleStorage": ("F64", 8),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
}
"""Storage class of the module `torch` -> dtype as safetensors names it, bytes per element."""

_OTHER_TENSORS = {
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_sparse_csr_tensor": "sparse",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_qtensor": "quantised",
    "_rebuild_meta_tensor_no_storage": "meta",
    "_rebuild_wrapper_subclass": "wrapped",
    "_rebuild_tensor_v3": "typed (float8 or unsigned)",
    "_rebuild_device_tensor_from_numpy": "device",
    "_rebuild_device_tensor_from_cpu_tensor": "device",
}
"""Functions of `torch._utils` that build tensors of kinds that are not read here."""

_ZIP_HEAD = b"PK\x03\x04"
_PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")
_VIEW = ("torch._utils", "_rebuild_tensor_v2")


def is_torch_file(head: bytes) -> bool:
    """Whether a file that starts with `head` is one of torch.save, in its new or its old format."""
    # The old one starts with a long number or, in later protocols, a frame. The protocol alone
    # would not do: a number of two bytes at the start of another format may look the same.
    return head.startswith(_ZIP_HEAD) or (_is_pickle(head) and head[2:3] in (b"\x8a", b"\x95"))


def _is_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in _PROTOCOLS


class TorchFile(TensorFile):
    """A mapped file of torch.save that holds a state dictionary."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Map and check a file.

        Raises: ConfigError if it cannot be opened; FormatError for what is broken or no plain
            dictionary of tensors; UnsupportedError for tensors and files of other kinds.
        """
        super().__init__(path, _parse)


@dataclass(frozen=True, slots=True)
class _Storage:
    """A run of numbers in the file. start: absolute offset."""

    dtype: str
    item_bytes: int
    start: int
    n_elements: int


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor as the pickle describes it; offset and strides are in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _parse(view: memoryview, path: Path) -> dict[str, StoredTensor]:
    if _is_pickle(bytes(view[:2])):
        raise UnsupportedError(
            f"{path}: the file is a bare pickle, as PyTorch wrote before version 1.6; write it "
            'again with torch.save(torch.load(FILE, map_location="cpu", weights_only=True), '
            "NEW_FILE)"
        )
    members = read_stored_zip(view, path)
    root = _find_root(members, path)
    order = members.get(f"{root}/byteorder")
    if order is not None and bytes(view[order.start :][: min(order.n_bytes, 8)]) != b"little":
        raise UnsupportedError(f"{path}: the file is big-endian; save it on another machine")
    pickled = members[f"{root}/data.pkl"]
    if pickled.n_bytes > MAX_PICKLE_BYTES:
        raise FormatError.at(
            path, "data.pkl", expected=f"up to {MAX_PICKLE_BYTES} bytes", found=pickled.n_bytes
        )
    data = view[pickled.start : pickled.start + pickled.n_bytes]
    rebuilder = _Rebuilder(members, root, path)
    machine = PickleMachine(data, path, pickled.start, rebuilder.find, rebuilder.storage)
    return _named(machine.run(), path)


def _find_root(members: dict[str, Member], path: Path) -> str:
    """The folder in the archive; PyTorch names it after the file."""
    roots = [name.split("/")[0] for name in members if name.count("/") == 1]
    found = sorted({root for root in roots if f"{root}/data.pkl" in members})
    if len(found) != 1:
        raise FormatError.at(
            path, "archive", expected="one data.pkl, as torch.save writes", found=f"{len(found)}"
        )
    if f"{found[0]}/constants.pkl" in members:
        raise UnsupportedError(
            f"{path}: the file is a TorchScript program; save the model's state_dict() instead"
        )
    return found[0]


class _Rebuilder:
    """Turns what the pickle names into storages and views of them."""

    def __init__(self, members: dict[str, Member], root: str, path: Path) -> None:
        self._members = members
        self._root = root
        self._path = path
        self._globals = self._allowed()

    def _allowed(self) -> dict[tuple[str, str], Global]:
        makers: dict[tuple[str, str], Callable[[tuple[object, ...]], object] | None] = {
            ("collections", "OrderedDict"): self._dictionary,
            _VIEW: self._view,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("torch._tensor", "_rebuild_from_type_v2"): self._plain,
            ("torch", "Tensor"): None,
            ("torch.nn.parameter", "Parameter"): None,
            **{("torch", name): None for name in _DTYPES},
        }
        return {key: Global(key[1], make) for key, make in makers.items()}

    def find(self, module: str, name: str) -> Global | None:
        """What the pickle may name. Raises: UnsupportedError for tensors of other kinds."""
        kind = _OTHER_TENSORS.get(name) if module == "torch._utils" else None
        if kind is not None:
            raise UnsupportedError(
                f"{self._path}: the file holds {kind} tensors, which are not supported; save the "
                "weights as dense tensors of float32, float16 or bfloat16"
            )
        return self._globals.get((module, name))

    def storage(self, key: object) -> _Storage:
        """The storage of a persistent id: ("storage", class, key, device, number of elements)."""
        if type(key) is not tuple or len(key) != 5 or key[0] != "storage":
            raise self._error("storage", "storage, class, key, device and size", key)
        _, kind, name, _, n_elements = key
        if not isinstance(kind, Global) or kind.name not in _DTYPES:
            raise self._error("storage", "a storage class of torch", kind)
        dtype, item_bytes = _DTYPES[kind.name]
        if type(name) is not str or not (name.isascii() and name.isdigit() and len(name) < 20):
            raise self._error("storage", "a number as its key", name)
        if not _is_count(n_elements):
            raise self._error(f"storage {name}", "a number of elements", n_elements)
        member = self._members.get(f"{self._root}/data/{name}")
        if member is None or member.n_bytes != n_elements * item_bytes:
            raise FormatError.at(
                self._path,
                f"storage {name}",
                expected=f"{n_elements * item_bytes} bytes",
                found="no such member" if member is None else member.n_bytes,
                offset=None if member is None else member.start,
            )
        return _Storage(dtype, item_bytes, member.start, n_elements)

    def _view(self, arguments: tuple[object, ...]) -> _View:
        """A tensor: storage, offset, shape, strides, requires_grad, hooks, and flags if any."""
        if len(arguments) not in (6, 7) or (len(arguments) == 7 and arguments[6]):
            raise self._error("tensor", "six arguments and no flags", arguments)
        storage, offset, shape, strides, *_ = arguments
        if not isinstance(storage, _Storage) or not _is_count(offset):
            raise self._error("tensor", "a storage and an offset", storage)
        if not (_is_counts(shape) and _is_counts(strides) and len(shape) == len(strides)):
            raise self._error("tensor", f"shape and strides of up to {MAX_DIMS} sizes", shape)
        return _View(storage, offset, shape, strides)

    def _parameter(self, arguments: tuple[object, ...]) -> object:
        if len(arguments) != 3 or not isinstance(arguments[0], _View):
            raise self._error("parameter", "a tensor", arguments)
        return arguments[0]

    def _plain(self, arguments: tuple[object, ...]) -> object:
        """A tensor with attributes, which say nothing about its numbers."""
        if len(arguments) != 4 or arguments[0] is not self._globals[_VIEW]:
            raise self._error("tensor with attributes", "a plain tensor", arguments)
        if type(arguments[2]) is not tuple:
            raise self._error("tensor with attributes", "its arguments", arguments[2])
        return self._view(arguments[2])

    def _dictionary(self, arguments: tuple[object, ...]) -> object:
        if arguments:
            raise self._error("dictionary", "an empty one to fill", arguments)
        return {}

    def _error(self, field: str, expected: str, found: object) -> FormatError:
        return FormatError.at(self._path, field, expected=expected, found=_brief(found))


def _named(value: object, path: Path) -> dict[str, StoredTensor]:
    """The tensors of a state dictionary."""
    if type(value) is not dict:
        raise FormatError.at(
            path, "content", expected="a dictionary of tensors", found=_brief(value)
        )
    for name, item in value.items():
        if not isinstance(item, _View):
            raise FormatError.at(
                path,
                f"entry {shown(name)}",
                expected="a tensor (save model.state_dict() and nothing else)",
                found=_brief(item),
            )
    return {name: _stored(name, item, path) for name, item in value.items()}


def _stored(name: str, view: _View, path: Path) -> StoredTensor:
    field = f"tensor {shown(name)}"
    n_elements = math.prod(view.shape)
    if n_elements and not _is_row_major(view):
        raise UnsupportedError(
            f"{path}: {field} of shape {list(view.shape)} has strides {list(view.strides)}, which "
            "is not row by row; save it again after .contiguous()"
        )
    storage = view.storage
    if n_elements > storage.n_elements - view.offset:
        raise FormatError.at(
            path,
            field,
            expected=f"elements inside its storage of {storage.n_elements}",
            found=f"{n_elements} from element {view.offset}",
        )
    start = storage.start + view.offset * storage.item_bytes
    stop = start + n_elements * storage.item_bytes
    return StoredTensor(name, storage.dtype, view.shape, start, stop)


def _is_row_major(view: _View) -> bool:
    """Whether the elements follow one another; the stride of a dimension of 1 means nothing."""
    expected = 1
    for size, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 63


def _is_counts(value: object) -> TypeGuard[tuple[int, ...]]:
    return type(value) is tuple and len(value) <= MAX_DIMS and all(map(_is_count, value))


def _brief(value: object) -> str:
    """A value in a message, without its contents, which may be without end."""
    if type(value) is int or type(value) is str:
        return shown(value)
    return value.name if isinstance(value, Global) else f"a {type(value).__name__.strip('_')}"
