"""Opens and reads files at paths that nobody vouches for: links to devices, pipes, other sizes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pyllama_rt.errors import ConfigError, FormatError

# A FIFO or a device must be recognised, not waited for.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: Path) -> int:
    """A descriptor of `path`, which must be a regular file (or a link to one).

    Raises: ConfigError if it cannot be opened; FormatError if it is something else.
    """
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


def read_small_file(path: Path, limit: int) -> bytes:
    """The whole of a regular file of up to `limit` bytes; no more than that is ever read.

    Raises: ConfigError if it cannot be opened; FormatError if it is no regular file, is larger, or
        cannot be read.
    """
    with open(open_regular(path), "rb") as file:
        try:
            raw = file.read(limit + 1)
        except OSError as error:
            raise FormatError(f"{path}: cannot read the file: {error.strerror}") from None
    if len(raw) > limit:
        raise FormatError.at(path, "size", expected=f"up to {limit} bytes", found="more")
    return raw


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"
