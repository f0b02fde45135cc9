"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyllama_rt.errors import ConfigError, ResourceError
from pyllama_rt.formats.atomic_file import DISK_FULL, sync_folder


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a folder under a temporary name beside `path`, then put it in place in one step.

    Yields the temporary folder. Whoever writes a file there sees to it that it is on the disk
    (`os.fsync`). On any exception the temporary folder is removed with all that it holds.

    Raises: ConfigError if `path` is taken by anything but an empty folder, or if the folder around
        it is missing or not writable; ResourceError if the disk is full or fails.
    """
    target = Path(os.path.realpath(path))
    _check_free(target, Path(path))
    temporary = target.parent / f".pyllama-rt-{secrets.token_hex(8)}.tmp"
    try:
        temporary.mkdir()
    except OSError as error:
        raise ConfigError(f"{path}: cannot write into {target.parent}: {error.strerror}") from None
    try:
        yield temporary
        sync_folder(temporary)
        if target.exists():
            target.rmdir()
        os.rename(temporary, target)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise ResourceError(
                f"{path}: cannot write the folder: {error.strerror}; nothing was left behind"
            ) from None
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(target.parent)


def _check_free(target: Path, shown: Path) -> None:
    if not target.parent.is_dir():
        raise ConfigError(f"{shown}: the folder {target.parent} does not exist; create it first")
    if target.is_dir():
        if any(target.iterdir()):
            raise ConfigError(f"{shown}: the folder is not empty; choose another name")
    elif os.path.lexists(target):
        raise ConfigError(f"{shown}: expected the name of a folder to make, found a file")
