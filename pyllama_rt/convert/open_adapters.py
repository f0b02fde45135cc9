"""Opens the adapters that are to be applied, each in the reader of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path

from pyllama_rt.convert.adapter import Adapter
from pyllama_rt.convert.lazy_tensor import LazyTensor
from pyllama_rt.convert.low_rank import Factor, LowRank
from pyllama_rt.convert.peft_adapter import open_peft_adapter
from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.atomic_file import same_file
from pyllama_rt.formats.gguf import TensorInfo
from pyllama_rt.formats.gguf_adapter import GgufAdapter
from pyllama_rt.formats.mapped_file import MappedFile

_COMPARE_BYTES = 1 << 24


def open_adapters(paths: Sequence[Path], stack: ExitStack) -> list[Adapter]:
    """The adapters, in order: folders of peft and GGUF files.

    Args: stack: closes their files.
    Raises: ConfigError if there is none, or one twice; else as their readers.
    """
    if not paths:
        raise ConfigError("adapters: expected one or more, found none")
    adapters = [_open(path, stack) for path in paths]
    for a, b in combinations(adapters, 2):
        if same_file(a.files[0], b.files[0]) or _same_bytes(a.files[0], b.files[0]):
            raise ConfigError(
                f"{b.path}: it is the same adapter as {a.path}, which would be added twice; "
                "name each one once"
            )
    return adapters


def _open(path: Path, stack: ExitStack) -> Adapter:
    if path.is_dir():
        return open_peft_adapter(path, stack)
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder; name an adapter to add")
    return _open_gguf(path, stack)


def _open_gguf(path: Path, stack: ExitStack) -> Adapter:
    file = GgufAdapter.open(path)
    stack.callback(file.close)

    def factor(info: TensorInfo, transposed: bool = False) -> Factor:
        source = f"{path}: tensor {info.name}"
        tensor = LazyTensor(info.name, info.shape, info.type, file.data(info), source)
        return Factor(tensor, transposed)

    return Adapter(
        path=path,
        files=(path,),
        layout="gguf",
        deltas={
            name: LowRank(
                left=factor(pair.left),
                right=factor(pair.right, pair.right_transposed),
                scale=pair.scale,
                source=f"{path}: tensor {pair.left.name}",
            )
            for name, pair in file.pairs.items()
        },
        gguf=file,
    )


def _same_bytes(a: Path, b: Path) -> bool:
    """Whether two files hold the same; most differ in size already."""
    if a.stat().st_size != b.stat().st_size:
        return False
    left, right = MappedFile(a), MappedFile(b)
    try:
        return all(
            left.view[i : i + _COMPARE_BYTES] == right.view[i : i + _COMPARE_BYTES]
            for i in range(0, len(left.view), _COMPARE_BYTES)
        )
    finally:
        left.close()
        right.close()
