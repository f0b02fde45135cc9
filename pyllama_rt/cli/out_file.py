"""What is wrong with an output, before the hours of work whose result it is to hold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.atomic_file import same_file


def check_out(out: Path, inputs: Iterable[Path]) -> None:
    """Raises ConfigError unless `out` may be a file to write, and none of the inputs."""
    for path in inputs:
        if same_file(out, path):
            raise ConfigError(f"{out}: the output would replace its own input; choose another name")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise ConfigError(f"{out}: expected the name of a file in a folder that exists")
