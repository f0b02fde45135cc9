"""Texts that commands read whole, from files or standard input."""

from __future__ import annotations

from pathlib import Path

from pyllama_rt.cli.streams import read_stdin
from pyllama_rt.errors import FormatError
from pyllama_rt.small_file import read_small_file

MAX_TEXT_BYTES = 1 << 30


def read_text(name: str) -> str:
    """All of a text in UTF-8 but one newline at its end. Args: name: a path, or - for stdin.

    Raises: ConfigError if it cannot be opened; FormatError if it is empty, no regular file, too
        long, or not UTF-8.
    """
    source = "standard input" if name == "-" else name
    if name == "-":
        raw = read_stdin().encode("utf-8", "surrogateescape")
    else:
        raw = read_small_file(Path(name), MAX_TEXT_BYTES)
    if not raw:
        raise FormatError(f"{source}: the text is empty")
    try:
        return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise FormatError.at(
            source, "text", expected="UTF-8", found=f"byte {raw[error.start]:#04x}",
            offset=error.start,
        ) from None  # fmt: skip
