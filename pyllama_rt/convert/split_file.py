"""`split_file`: one GGUF model as several files; `merge_file`: the way back."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pyllama_rt.convert.copy_tensors import copy_tensors, counter
from pyllama_rt.convert.split_plan import (
    SPLIT_TYPES,
    Parts,
    is_split_key,
    parts_by_count,
    parts_by_size,
)
from pyllama_rt.convert.write import Progress, check_output
from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter
from pyllama_rt.formats.gguf_reader import SPLIT_COUNT

MAX_PARTS = 65535  # split.count is a UINT16


def split_file(
    source: str | os.PathLike[str],
    prefix: str | os.PathLike[str],
    *,
    max_bytes: int | None = None,
    max_tensors: int | None = None,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Writes a model as files PREFIX-00001-of-0000N.gguf, all of them or none.

    The metadata go into the first one. Any of the files stands for the whole model here,
    the first one in other programs too.

    Args:
        source: The file, or any file of a model that is split already.
        max_bytes, max_tensors: What a file may hold at most; one of the two.
    Returns:
        The files, in order.
    Raises:
        ConfigError if one of them exists already, or if a tensor is too large for a file;
        PyllamaRtError of the class that fits otherwise.
    """
    with GgufFile.open(source) as file:
        parts = _plan(file, max_bytes, max_tensors)
        paths = _part_paths(Path(prefix), len(parts))
        count = counter(progress, sum(info.n_bytes for info in file.tensors.values()))
        started: list[Path] = []
        try:
            for number, (path, part) in enumerate(zip(paths, parts, strict=True)):
                started.append(path)
                with GgufWriter(path, alignment=file.alignment) as writer:
                    if number == 0:
                        copy_keys(file, writer)
                    numbers = (number, len(parts), len(file.tensors))
                    for (key, kind), value in zip(SPLIT_TYPES.items(), numbers, strict=True):
                        writer.add(key, value, kind)
                    copy_tensors(writer, file, part, count)
        except BaseException:
            for path in started:
                with suppress(OSError):
                    path.unlink()
            raise
    return tuple(paths)


def merge_file(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> int:
    """Writes a model that is split over several files as one, whole or not at all.

    Args: source: any of its files.
    Returns: how many files it was.
    Raises: ConfigError if the model is not split; PyllamaRtError of the class that fits.
    """
    target = Path(out)
    with GgufFile.open(source) as file:
        if not file.has(SPLIT_COUNT):
            raise ConfigError(f"{source}: the file is no part of a split model; nothing to merge")
        check_output(target, file.paths)
        with GgufWriter(target, alignment=file.alignment) as writer:
            copy_keys(file, writer)
            count = counter(progress, sum(info.n_bytes for info in file.tensors.values()))
            copy_tensors(writer, file, file.tensors.values(), count)
        return len(file.paths)


def copy_keys(file: GgufFile, writer: GgufWriter) -> None:
    """All metadata but what says how the model is split."""
    for key in file.metadata:
        if not is_split_key(key):
            writer.copy(file.metadata, key)


def _plan(file: GgufFile, max_bytes: int | None, max_tensors: int | None) -> Parts:
    if max_bytes is not None and max_tensors is None:
        keys = [key for key in file.metadata if not is_split_key(key)]
        return parts_by_size(file, max_bytes, keys)
    if max_tensors is not None and max_bytes is None:
        return parts_by_count(file, max_tensors)
    raise ConfigError(
        "split needs one of the two: the largest size of a file (--max-size 2G) or its number of "
        "tensors (--max-tensors 128)"
    )


def _part_paths(prefix: Path, n_parts: int) -> list[Path]:
    """Names as every reader of split models knows them; none of the files exists yet."""
    if not prefix.name or prefix.suffix == ".gguf":
        raise ConfigError(
            f"{prefix}: expected the start of the files' names, as in ./my-model, to which "
            f"-00001-of-{n_parts:05d}.gguf is added"
        )
    if n_parts > MAX_PARTS:
        raise ConfigError(f"{prefix}: {n_parts} files are too many; allow each to be larger")
    paths = [
        prefix.with_name(f"{prefix.name}-{i + 1:05d}-of-{n_parts:05d}.gguf") for i in range(n_parts)
    ]
    for path in paths:
        if os.path.lexists(path):
            raise ConfigError(f"{path}: the file exists already; remove it, or choose another name")
    return paths
