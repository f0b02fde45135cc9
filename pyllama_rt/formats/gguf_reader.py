"""`GgufFile`: a GGUF model, in one file or split over several, mapped and checked."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pyllama_rt.closing import Closing
from pyllama_rt.errors import ConfigError, FormatError, did_you_mean, shown
from pyllama_rt.formats.gguf_metadata import Metadata, TypedMetadata
from pyllama_rt.formats.gguf_parser import ParsedFile, parse
from pyllama_rt.formats.gguf_types import TensorInfo, ValueType
from pyllama_rt.formats.mapped_file import MappedFile

SPLIT_NO = "split.no"
SPLIT_COUNT = "split.count"
SPLIT_TENSORS = "split.tensors.count"
_SPLIT_NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Part(TypedMetadata):
    """One file of a model."""

    mapped: MappedFile
    parsed: ParsedFile
    metadata: Metadata

    @classmethod
    def open(cls, path: Path, file_index: int, stack: ExitStack) -> _Part:
        """Map and parse `path`; `stack` closes it."""
        mapped = MappedFile(path)
        stack.callback(mapped.close)
        parsed = parse(mapped.view, path, file_index)
        return cls(mapped, parsed, Metadata(mapped, parsed.entries))


class GgufFile(TypedMetadata, Closing):
    """A model file; use `GgufFile.open`, preferably in a `with` statement.

    path: the path that was opened. paths: every file of the model, in order.
    version, metadata, alignment: of the first file.
    tensors: of all files, by name, in the order of the directories.
    """

    def __init__(self, path: Path, parts: list[_Part]) -> None:
        """Join parsed parts; `open` is the way to get them."""
        first = parts[0]
        self.path = path
        self.paths = tuple(part.mapped.path for part in parts)
        self.version = first.parsed.version
        self.alignment = first.parsed.alignment
        self.metadata = first.metadata
        self.tensors: dict[str, TensorInfo] = {}
        for part in parts:
            for info in part.parsed.tensors:
                if info.name in self.tensors:
                    raise FormatError(
                        f"{part.mapped.path}: tensor {shown(info.name)} is also in "
                        f"{self.paths[self.tensors[info.name].file_index]}"
                    )
                self.tensors[info.name] = info
        self._parts = parts

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> GgufFile:
        """Open a model; any file of a split model stands for the whole.

        Raises: ConfigError if a file cannot be opened; FormatError if it breaks the format;
            UnsupportedError for versions, byte orders and types that are not read.
        """
        path = Path(path)
        with ExitStack() as stack:
            file = cls(path, _open_parts(path, stack))
            stack.pop_all()  # from here on `close` looks after the mappings
            return file

    @property
    def mappings(self) -> list[memoryview]:
        """The bytes of every file, read-only. Raises: StateError after `close`."""
        return [part.mapped.view for part in self._parts]

    def tensor_data(self, name: str) -> memoryview:
        """The bytes of a tensor, read-only, in the mapping.

        Raises: FormatError if the file has no such tensor; StateError after `close`.
        """
        info = self.tensors.get(name)
        if info is None:
            raise FormatError(
                f"{self.path}: the file has no tensor {shown(name)}"
                f"{did_you_mean(name, self.tensors)}"
            )
        view = self._parts[info.file_index].mapped.view
        return view[info.offset : info.offset + info.n_bytes]

    def value_type(self, key: str) -> ValueType:
        """The type of a metadata value. Raises: KeyError."""
        return self.metadata.value_type(key)

    def close(self) -> None:
        """Unmap the files; views that are still held keep their own memory alive."""
        for part in self._parts:
            part.mapped.close()


def _open_parts(path: Path, stack: ExitStack) -> list[_Part]:
    opened = _Part.open(path, 0, stack)
    count = opened.get_int(SPLIT_COUNT, 1)
    if count in (0, 1):
        return [opened]
    match = _SPLIT_NAME.fullmatch(path.name)
    number = opened.get_int(SPLIT_NO)
    if match is None or int(match["count"]) != count or int(match["number"]) != number + 1:
        raise FormatError(
            f"{path}: the file is part {number + 1} of {count} of a split model, so its name must "
            f"end in -{number + 1:05d}-of-{count:05d}.gguf; give it its old name back"
        )
    stack.pop_all().close()
    parts = [
        _open_numbered(
            path.with_name(f"{match['stem']}-{i + 1:05d}-of-{count:05d}.gguf"), i, count, stack
        )
        for i in range(count)
    ]
    _check_total(parts)
    return parts


def _open_numbered(path: Path, number: int, count: int, stack: ExitStack) -> _Part:
    """Part `number` (from 0) of `count`, whose own metadata must say the same."""
    try:
        part = _Part.open(path, number, stack)
    except ConfigError as error:
        raise FormatError(
            f"part {number + 1} of {count} of the model is missing: {error}"
        ) from None
    for key, expected in ((SPLIT_NO, number), (SPLIT_COUNT, count)):
        found = part.get_int(key)
        if found != expected:
            raise FormatError.at(path, key, expected=expected, found=found)
    return part


def _check_total(parts: list[_Part]) -> None:
    expected = parts[0].get_int(SPLIT_TENSORS)
    found = sum(len(part.parsed.tensors) for part in parts)
    if found != expected:
        raise FormatError(
            f"{parts[0].mapped.path}: {SPLIT_TENSORS}: expected {expected} tensors in "
            f"{len(parts)} files, found {found}"
        )
