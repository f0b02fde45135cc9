"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pyllama_rt.errors import ConfigError, ResourceError

DISK_FULL = frozenset(
    {errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}
)
"""Numbers of errors that say the disk is full or broken."""

_SET_ID = stat.S_ISUID | stat.S_ISGID


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write `path` under a temporary name beside it, then put it in place in one step.

    Until the block ends without an exception the old file, if any, stays as it was; on any
    exception the temporary file is removed. A link at `path` stays a link: its target is replaced.
    The new file has the permissions of the old one, if any.

    Raises: ConfigError if the folder is missing or not writable, or if `path` is something else
        than a regular file or no possible name; ResourceError if the disk is full or fails.
    """
    target = _real_path(Path(path))
    file, temporary = _create_beside(target, Path(path))
    try:
        _keep_permissions(target, temporary)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(temporary, target)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise ResourceError(
                f"{path}: cannot write the file: {error.strerror}; nothing was left behind"
            ) from None
        raise
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    sync_folder(target.parent)


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file, directly, by a symbolic link or by a hard link."""
    try:
        return os.path.samefile(a, b)
    except ValueError:  # a NUL, which no name holds
        return False
    except OSError:  # one of them does not exist (yet)
        return os.path.normcase(os.path.realpath(a)) == os.path.normcase(os.path.realpath(b))


def _real_path(path: Path) -> Path:
    """Where `path` leads, links followed."""
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        raise ConfigError(f"{path}: cannot write a file of this name: {error}") from None


def _create_beside(target: Path, shown: Path) -> tuple[BinaryIO, Path]:
    """A new file in the folder of `target`, and its path; `shown` is the name for messages."""
    old = _status(target, shown)
    if old is not None and stat.S_ISDIR(old.st_mode):
        raise ConfigError(f"{shown}: expected the name of a file to write, found a folder")
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise ConfigError(f"{shown}: only a regular file can be replaced; choose another name")
    if not target.parent.is_dir():
        raise ConfigError(f"{shown}: the folder {target.parent} does not exist; create it first")
    temporary = target.parent / f".pyllama-rt-{secrets.token_hex(8)}.tmp"
    try:
        return open(temporary, "xb"), temporary
    except OSError as error:
        raise ConfigError(f"{shown}: cannot write into {target.parent}: {error.strerror}") from None


def _keep_permissions(target: Path, temporary: Path) -> None:
    """Give the new file those of the old one, where there is one and the file system keeps any."""
    with suppress(OSError):
        os.chmod(temporary, stat.S_IMODE(target.stat().st_mode) & ~_SET_ID)


def _status(target: Path, shown: Path) -> os.stat_result | None:
    """What is at `target` now, None for nothing."""
    try:
        return os.lstat(target)
    except FileNotFoundError:
        return None
    except OSError as error:  # a name that is too long, among others
        raise ConfigError(f"{shown}: cannot write a file of this name: {error.strerror}") from None


def _put_in_place(temporary: Path, target: Path) -> None:
    try:
        os.replace(temporary, target)
    except PermissionError as error:  # Windows, where someone has the old file open or mapped
        raise ConfigError(
            f"{target}: cannot replace the file: {error.strerror}; close the program that uses it"
        ) from None


def sync_folder(folder: Path) -> None:
    """Make the new name itself durable, where the system can (Windows cannot)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
