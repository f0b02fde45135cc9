"""All tensors of a Hugging Face checkpoint: safetensors or PyTorch files, one or several."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pyllama_rt.errors import FormatError, shown
from pyllama_rt.formats.json_object import read_json_object
from pyllama_rt.formats.safetensors import SafetensorsFile
from pyllama_rt.formats.tensor_file import StoredTensor, TensorFile
from pyllama_rt.formats.torch_file import TorchFile


@dataclass(frozen=True, slots=True)
class _Layout:
    """The names of one kind of checkpoint, and what opens a file of it.

    index: says which file holds which tensor. shards: a pattern of all files that it may name.
    """

    single: str
    index: str
    shards: str
    open: Callable[[Path], TensorFile]


_LAYOUTS = (
    _Layout(
        "model.safetensors",
        "model.safetensors.index.json",
        "model-*-of-*.safetensors",
        SafetensorsFile,
    ),
    _Layout(
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "pytorch_model-*-of-*.bin",
        TorchFile,
    ),
)
"""Best first: where a checkpoint is there twice, safetensors are read."""

INDEXES = tuple(layout.index for layout in _LAYOUTS)
"""The files that say which file holds which tensor."""

_MAX_INDEX_BYTES = 1 << 25

Stored = tuple[TensorFile, StoredTensor]


def open_shards(folder: Path, stack: ExitStack) -> dict[str, Stored]:
    """Tensor name -> the open file that holds it and its entry there.

    Args: stack: closes the files.
    Raises: FormatError for files that are missing, broken, or contradict the index;
        UnsupportedError for tensors and files of kinds that are not read.
    """
    for layout in _LAYOUTS:
        if (folder / layout.single).exists():
            file = _open(folder / layout.single, layout, stack)
            return {name: (file, entry) for name, entry in file.tensors.items()}
        if (folder / layout.index).exists():
            return _open_indexed(folder, layout, stack)
    names = [name for layout in _LAYOUTS for name in (layout.single, layout.index)]
    raise FormatError(f"{folder}: expected {', '.join(names[:-1])} or {names[-1]}, found none")


def _open(path: Path, layout: _Layout, stack: ExitStack) -> TensorFile:
    file = layout.open(path)
    stack.callback(file.close)
    return file


def _open_indexed(folder: Path, layout: _Layout, stack: ExitStack) -> dict[str, Stored]:
    wanted = _weight_map(folder / layout.index)
    names = sorted(set(wanted.values()))
    strays = sorted({p.name for p in folder.glob(layout.shards)} - set(names))
    if strays:
        raise FormatError(
            f"{folder / strays[0]}: the index {layout.index} does not name this file; remove it, "
            "or fetch the index that belongs to it"
        )
    found: dict[str, Stored] = {}
    for name in names:
        if not (folder / name).exists():
            raise FormatError(f"{folder / name}: the index names this file, but it is missing")
        file = _open(folder / name, layout, stack)
        for tensor, entry in file.tensors.items():
            if tensor in found:
                raise FormatError(
                    f"{file.path}: tensor {shown(tensor)} is also in {found[tensor][0].path}"
                )
            if wanted.get(tensor) != name:
                raise FormatError.at(
                    file.path,
                    f"tensor {shown(tensor)}",
                    expected=f"to find it in {shown(wanted.get(tensor))}, as the index says",
                    found="it here",
                )
            found[tensor] = (file, entry)
    for tensor, name in wanted.items():
        if tensor not in found:
            raise FormatError.at(
                folder / name,
                f"tensor {shown(tensor)}",
                expected="it here, as the index says",
                found="no such tensor",
            )
    return found


def _weight_map(index: Path) -> dict[str, str]:
    found = read_json_object(index, _MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise FormatError.at(index, "weight_map", expected="files by tensor", found=shown(found))
    for tensor, name in found.items():
        is_plain = isinstance(name, str) and name and not set(name) & set("/\\:\0")
        if not is_plain or name in (".", ".."):
            raise FormatError.at(
                index,
                f"file of {shown(tensor)}",
                expected="a file name without a folder",
                found=shown(name),
            )
    return found
