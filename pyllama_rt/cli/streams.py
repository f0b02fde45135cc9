"""Standard streams that may be closed, cut off, or of an encoding that lacks characters."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TextIO

from pyllama_rt.errors import ConfigError

MAX_STDIN_BYTES = 16 << 20


def prepare_streams() -> None:
    """Lets every text through in both directions; what an encoding lacks is replaced."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "replace")):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)


def output() -> TextIO:
    """Stdout. Raises: ConfigError if it is closed."""
    if sys.stdout is None:
        raise ConfigError("standard output is closed; there is nowhere to write the text")
    return sys.stdout


def flush_stdout() -> None:
    """Writes out what is buffered, so that its errors come now and not when Python ends."""
    if sys.stdout is not None:
        sys.stdout.flush()


def abandon_stdout() -> None:
    """Sends what is still buffered nowhere, because writing it would fail again."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        return


def read_stdin() -> str:
    """All of stdin but one newline at its end. Raises: ConfigError if it is too long."""
    raw = b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
    if len(raw) > MAX_STDIN_BYTES:
        raise ConfigError(f"standard input: expected up to {MAX_STDIN_BYTES} bytes, found more")
    return raw.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")


def is_piped() -> bool:
    """Whether stdin is something other than a keyboard."""
    return sys.stdin is not None and not sys.stdin.isatty()


def printable(text: str) -> str:
    """`text` in one line, with control characters spelt out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def print_error(text: str) -> None:
    """One line about what went wrong, on stderr."""
    print_note(f"error: {text}")


def print_note(text: str) -> None:
    """One line on stderr."""
    print(printable(text), file=sys.stderr)
