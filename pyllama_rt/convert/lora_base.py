"""A model that adapters are applied to, under the names of both formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pyllama_rt.convert.adapter import Layout
from pyllama_rt.convert.checkpoint import Checkpoint, naming
from pyllama_rt.convert.huggingface import (
    ExpectedTensor,
    expected_tensors,
    open_huggingface,
    read_config,
)
from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.convert.lazy_tensor import LazyTensor
from pyllama_rt.convert.low_rank import F32, LowRank
from pyllama_rt.convert.transforms import TRANSPOSE, RowOrder, added, row_order
from pyllama_rt.errors import ConfigError, FormatError
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.formats.gguf_adapter import check_is_model, is_norm, norms_digest
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.registry import Architecture, architecture

HEAD, EMBEDDING = "output.weight", "token_embd.weight"


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor of a checkpoint, and where it lies in a GGUF file.

    gguf, hf: its names. shape: in GGUF. order: which row of the checkpoint is row i of the file,
    None: row i. added, transposed: on the way to GGUF, as in LazyTensor. has_vocab_rows: whether it
    grows with the vocabulary. expert: its place in the stack of that name, None: it is the whole.
    """

    gguf: str
    hf: str
    shape: tuple[int, ...]
    order: RowOrder | None
    added: float
    transposed: bool
    has_vocab_rows: bool
    expert: int | None

    def in_layout(self, layout: Layout, tensor: LazyTensor) -> LazyTensor:
        """A checkpoint's tensor as it lies there. Args: tensor: its bytes, rows as in `hf`."""
        if layout == "hf":
            shape = tensor.shape[::-1] if tensor.transposed else tensor.shape
            return replace(
                tensor, name=self.hf, shape=shape, order=None, added=0.0, transposed=False
            )
        shape = tensor.shape[::-1] if self.transposed else tensor.shape
        return replace(
            tensor, name=self.gguf, shape=shape,
            order=self.order, added=self.added, transposed=self.transposed,
        )  # fmt: skip

    def between(self, delta: LowRank, source: Layout, target: Layout) -> LowRank:
        """What is added to the tensor in `source`, as it is added in `target`."""
        if source == target:
            return delta
        if self.transposed:
            return delta.swapped()
        if self.order is None:
            return delta
        inverse: RowOrder = np.argsort(self.order)
        return replace(delta, order=self.order if target == "gguf" else inverse)


@dataclass(frozen=True)
class LoraBase:
    """The tensors of a base.

    path: for messages. files: everything that it is read from.
    slots: of every tensor that an adapter may change. absent: of optional ones that it lacks.
    tensors: by GGUF name, rows in the order of GGUF; empty if only the shapes are known.
    """

    path: Path
    files: tuple[Path, ...]
    architecture: Architecture
    slots: tuple[Slot, ...]
    absent: tuple[Slot, ...]
    tensors: Mapping[str, LazyTensor]

    def norms_digest(self) -> str | None:
        """The fingerprint that GGUF adapters carry; None if only the shapes are known."""
        norms = [t for t in self.tensors.values() if is_norm(t.name, t.shape)]
        if not norms:
            return None
        return norms_digest((t.name, b"".join(map(bytes, t.encoded(F32, None)))) for t in norms)


def open_huggingface_base(
    folder: Path, stack: ExitStack
) -> tuple[LoraBase, Checkpoint, JsonMetadata]:
    """A Hugging Face directory as a base, as a checkpoint, and its config.json.

    Raises: ConfigError, FormatError, UnsupportedError, as `open_huggingface`.
    """
    checkpoint = open_huggingface(folder, stack)
    _, _, reader = read_config(folder / "config.json")
    tensors = {tensor.name: tensor for tensor in checkpoint.tensors}
    base = _base(folder, checkpoint.files, checkpoint.architecture, checkpoint.config, tensors)
    return base, checkpoint, reader


def open_gguf_base(path: Path, stack: ExitStack) -> tuple[LoraBase, GgufFile]:
    """A GGUF file as a base.

    Raises: ConfigError, FormatError, UnsupportedError: for files that are no model of a known
        architecture, or whose tensors are not those that their metadata promise.
    """
    file = stack.enter_context(GgufFile.open(path))
    check_is_model(file)
    arch = architecture(file.get_str("general.architecture"), path)
    with naming(path):
        config = arch.from_gguf(file)
    tensors = {
        info.name: LazyTensor(
            info.name, info.shape, info.type, file.tensor_data(info.name),
            f"{path}: tensor {info.name}",
        )
        for info in file.tensors.values()
    }  # fmt: skip
    return _base(path, file.paths, arch, config, tensors), file


def open_shapes(path: Path, stack: ExitStack) -> LoraBase:
    """A base for its names and shapes; of a Hugging Face directory config.json alone will do.

    Raises: as `open_huggingface_base` and `open_gguf_base`.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder; name the model the adapter belongs to")
    if not path.is_dir():
        return open_gguf_base(path, stack)[0]
    if any(path.glob("*.safetensors")) or any(path.glob("*.bin")):
        return open_huggingface_base(path, stack)[0]
    config_path = path / "config.json"
    arch, config, _ = read_config(config_path)
    return _base(path, (config_path,), arch, config, None)


def _base(
    path: Path,
    files: Iterable[Path],
    arch: Architecture,
    config: TransformerConfig,
    tensors: Mapping[str, LazyTensor] | None,
) -> LoraBase:
    slots: list[Slot] = []
    absent: list[Slot] = []
    for e in expected_tensors(arch, config):
        found = None if tensors is None else tensors.get(e.gguf)
        if found is not None and found.shape != e.shape:
            raise FormatError(
                f"{found.source}: expected shape {list(e.shape)}, as the metadata have "
                f"{' × '.join(e.spec.shape)}, found {list(found.shape)}"
            )
        if found is None and tensors is not None and not e.spec.optional:
            raise FormatError(f"{path}: expected tensor {e.gguf}, found no such tensor")
        (slots if tensors is None or found is not None else absent).extend(_slots(e))
    return LoraBase(path, tuple(files), arch, tuple(slots), tuple(absent), tensors or {})


def _slots(expected: ExpectedTensor) -> Iterator[Slot]:
    """One for each tensor of a checkpoint that is part of it."""
    is_stack = "{e}" in expected.spec.hf
    shape = expected.shape[1:] if is_stack else expected.shape
    transform = expected.spec.transform
    for number, name in enumerate(expected.hf):
        yield Slot(
            gguf=expected.gguf,
            hf=name,
            shape=shape,
            order=row_order(transform, shape[0], expected.sizes),
            added=added(transform),
            transposed=transform == TRANSPOSE,
            has_vocab_rows=expected.spec.shape[0] == "vocab",
            expert=number if is_stack else None,
        )
