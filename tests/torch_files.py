"""Files in the layout of torch.save, written with the standard library only."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import encoded
from numpy.typing import NDArray

STORAGES = {"F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage",
            "F64": "DoubleStorage", "I64": "LongStorage"}  # fmt: skip


@dataclass(frozen=True)
class Name:
    """What a pickle names; callable, as the pickler insists."""

    module: str
    name: str

    def __call__(self) -> None:
        raise AssertionError(self)


REBUILD = Name("torch._utils", "_rebuild_tensor_v2")


@dataclass(frozen=True, eq=False)
class Storage:
    """A run of numbers. n_elements: what the pickle says of it."""

    key: Any
    data: bytes
    n_elements: Any
    kind: Any = Name("torch", "FloatStorage")

    def persistent_id(self) -> tuple[object, ...]:
        return ("storage", self.kind, self.key, "cpu", self.n_elements)


@dataclass(frozen=True, eq=False)
class Call:
    """What a pickle calls, and with what."""

    function: Any
    arguments: tuple[Any, ...]

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def tensor(storage: Any, shape: Any, offset: Any = 0, strides: Any = None) -> Call:
    """A view of a storage; strides are those of a row-major array unless given."""
    if strides is None:
        strides = tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))
    return Call(REBUILD, (storage, offset, shape, strides, False, OrderedDict()))


_PythonPickler: Any = vars(pickle)["_Pickler"]  # not the one in C, whose steps are out of reach


class _Pickler(_PythonPickler):  # type: ignore[misc]
    """Writes names of modules that need not be there."""

    def persistent_id(self, obj: object) -> object:
        return obj.persistent_id() if isinstance(obj, Storage) else None

    def save(self, obj: object, save_persistent_id: bool = True) -> None:
        if not isinstance(obj, Name):
            super().save(obj, save_persistent_id)
        elif id(obj) in self.memo:
            self.write(self.get(self.memo[id(obj)][0]))
        else:
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
            self.memoize(obj)


def pickled(value: object, protocol: int = 2) -> bytes:
    file = io.BytesIO()
    _Pickler(file, protocol).dump(value)
    return file.getvalue()


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return file.getvalue()


def archive(value: object, *storages: Storage, protocol: int = 2) -> bytes:
    """A file of torch.save with a value that may be anything."""
    return raw_archive(pickled(value, protocol), *storages)


def raw_archive(program: bytes, *storages: Storage) -> bytes:
    """The same with a pickle that is given."""
    return zipped(
        {
            "archive/data.pkl": program,
            "archive/.format_version": b"1",
            "archive/byteorder": b"little",
            **{f"archive/data/{storage.key}": storage.data for storage in storages},
            "archive/version": b"3\n",
        }
    )


def write_torch(path: Path, arrays: Mapping[str, NDArray[np.float32]], dtype: str = "F16") -> None:
    """A state dictionary with one storage an array."""
    kind = Name("torch", STORAGES[dtype])
    storages = [
        Storage(str(i), encoded(array, dtype), array.size, kind)
        for i, array in enumerate(arrays.values())
    ]
    state = OrderedDict(
        (name, tensor(storage, array.shape))
        for (name, array), storage in zip(arrays.items(), storages, strict=True)
    )
    path.write_bytes(archive(state, *storages))


def write_sparse_torch(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A state dictionary in F16, all zero, whose numbers take no room on disk."""
    storages = {
        name: Storage(str(i), b"", int(np.prod(shape)), Name("torch", "HalfStorage"))
        for i, (name, shape) in enumerate(shapes.items())
    }
    state = {name: tensor(storage, shapes[name]) for name, storage in storages.items()}
    program = pickled(state)
    sizes = {f"a/data/{s.key}": 2 * s.n_elements for s in storages.values()}
    rows = b""
    with path.open("wb") as file:
        for name, size in {"a/data.pkl": len(program), **sizes}.items():
            fields = (20, 0, 0, 0, 0, 0, size, size, len(name), 0)
            start = file.tell()
            rows += struct.pack("<4sH5H3L2H", b"PK\x01\x02", 20, *fields)
            rows += struct.pack("<3H2L", 0, 0, 0, 0, start) + name.encode()
            file.write(struct.pack("<4s5H3L2H", b"PK\x03\x04", *fields) + name.encode())
            if name == "a/data.pkl":
                file.write(program)
            else:
                file.seek(size, 1)
        start, n = file.tell(), len(sizes) + 1
        file.write(rows)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n, n, len(rows), start, 0))
