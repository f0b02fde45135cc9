"""Tensors from one GGUF file to another, byte by byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pyllama_rt.convert.write import Progress
from pyllama_rt.formats.gguf import GgufFile, GgufWriter, TensorInfo

_CHUNK_BYTES = 1 << 24

Count = Callable[[str, int], None]
"""Called with the tensor and the number of bytes after each piece that was written."""


def counter(progress: Progress | None, n_total: int) -> Count:
    """What adds up the pieces for `progress`."""
    n_done = 0

    def count(name: str, n_bytes: int) -> None:
        nonlocal n_done
        n_done += n_bytes
        if progress is not None:
            progress(name, n_done, n_total)

    return count


def copy_tensors(
    writer: GgufWriter, file: GgufFile, tensors: Iterable[TensorInfo], count: Count
) -> None:
    """Declare and write `tensors` of `file`, in their order."""
    chosen = list(tensors)
    for info in chosen:
        writer.declare(info.name, info.shape, info.type)
    for info in chosen:
        writer.write_tensor(info.name, _pieces(file, info.name, count))


def _pieces(file: GgufFile, name: str, count: Count) -> Iterator[memoryview]:
    data = file.tensor_data(name)
    for start in range(0, len(data), _CHUNK_BYTES):
        piece = data[start : start + _CHUNK_BYTES]
        yield piece
        count(name, len(piece))
