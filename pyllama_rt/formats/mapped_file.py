"""A regular file mapped read-only through one descriptor, safe to point at any path."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from pyllama_rt.errors import FormatError, ResourceError, StateError
from pyllama_rt.small_file import open_regular


class MappedFile:
    """The bytes of one file; nothing is read until it is looked at."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Map `path`.

        Raises: ConfigError if it cannot be opened; FormatError if it is not a regular file or is
            empty; ResourceError if the system refuses the mapping.
        """
        self.path = Path(path)
        descriptor = open_regular(self.path)
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
