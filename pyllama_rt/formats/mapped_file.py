"""A regular file mapped read-only through one descriptor, safe to point at any path."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

from pyllama_rt.errors import ConfigError, FormatError, ResourceError, StateError

# A FIFO or a device must be recognised, not waited for.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class MappedFile:
    """The bytes of one file; nothing is read until it is looked at."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Map `path`.

        Raises: ConfigError if it cannot be opened; FormatError if it is not a regular file or is
            empty; ResourceError if the system refuses the mapping.
        """
        self.path = Path(path)
        descriptor = _open_regular(self.path)
        try:
            n_bytes = os.fstat(descriptor).st_size
            if n_bytes == 0:
                raise FormatError(f"{self.path}: the file is empty")
            try:
                self._map: mmap.mmap | None = mmap.mmap(
                    descriptor, n_bytes, access=mmap.ACCESS_READ
                )
            except (OSError, ValueError, OverflowError) as error:
                raise ResourceError(f"{self.path}: cannot map {n_bytes} bytes: {error}") from None
        finally:
            os.close(descriptor)
        self._view = memoryview(self._map)

    @property
    def view(self) -> memoryview:
        """All bytes of the file, read-only."""
        if self._map is None:
            raise StateError(f"{self.path}: the file was closed")
        return self._view

    def close(self) -> None:
        """Give the mapping back; memory that someone still views goes when their view does."""
        mapping, self._map = self._map, None
        if mapping is None:
            return
        try:
            self._view.release()
            mapping.close()
        except BufferError:
            return


def _open_regular(path: Path) -> int:
    """A descriptor of `path`, which must be a regular file (or a link to one)."""
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except (OSError, ValueError) as error:
        if os.path.isdir(path):  # Windows refuses to open one at all
            raise FormatError(f"{path}: expected a file, found a directory") from None
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot open the file: {reason}") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise FormatError(f"{path}: expected a regular file, found {_kind(mode)}")
    return descriptor


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"
