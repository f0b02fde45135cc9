"""All tensors of a Hugging Face checkpoint, whether in one safetensors file or in several."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pyllama_rt.errors import FormatError, UnsupportedError, shown
from pyllama_rt.formats.json_object import read_json_object
from pyllama_rt.formats.safetensors import SafetensorsFile, StoredTensor

_SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Says which file holds which tensor."""

_MAX_INDEX_BYTES = 1 << 25
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth")

Stored = tuple[SafetensorsFile, StoredTensor]


def open_shards(folder: Path, stack: ExitStack) -> dict[str, Stored]:
    """Tensor name -> the open file that holds it and its entry there.

    Args: stack: closes the files.
    Raises: FormatError for files that are missing, broken, or contradict the index;
        UnsupportedError for checkpoints in other formats.
    """
    if (folder / _SINGLE).exists():
        file = _open(folder / _SINGLE, stack)
        return {name: (file, entry) for name, entry in file.tensors.items()}
    if (folder / INDEX).exists():
        return _open_indexed(folder, stack)
    for name in _PICKLES:
        if (folder / name).exists():
            raise UnsupportedError(
                f"{folder / name}: PyTorch files are not supported yet; save the model again as "
                "safetensors with save_pretrained(..., safe_serialization=True)"
            )
    raise FormatError(f"{folder}: expected {_SINGLE} or {INDEX}, found neither")


def _open(path: Path, stack: ExitStack) -> SafetensorsFile:
    file = SafetensorsFile(path)
    stack.callback(file.close)
    return file


def _open_indexed(folder: Path, stack: ExitStack) -> dict[str, Stored]:
    index = folder / INDEX
    wanted = _weight_map(index)
    names = sorted(set(wanted.values()))
    strays = sorted({p.name for p in folder.glob("model-*-of-*.safetensors")} - set(names))
    if strays:
        raise FormatError(
            f"{folder / strays[0]}: the index {INDEX} does not name this file; remove it, or "
            "fetch the index that belongs to it"
        )
    found: dict[str, Stored] = {}
    for name in names:
        if not (folder / name).exists():
            raise FormatError(f"{folder / name}: the index names this file, but it is missing")
        file = _open(folder / name, stack)
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
