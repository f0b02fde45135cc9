"""`pyllama-rt split`: a GGUF file to several."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from pyllama_rt.cli.file_progress import file_progress
from pyllama_rt.cli.streams import print_note
from pyllama_rt.config import check_int
from pyllama_rt.convert import split_file
from pyllama_rt.errors import ConfigError, shown

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
_SIZE = re.compile(r"([0-9]{1,15})([KMG]?)")


def split(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN.gguf",
            help="The file to read; any part of a model that is split already.",
            show_default=False,
        ),
    ],
    prefix: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="PREFIX",
            help="Start of the files' names: PREFIX-00001-of-00003.gguf and so on.",
            show_default=False,
        ),
    ],
    *,
    max_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Bytes that a file takes at most, as 500M or 2G (of 1000^3)."
        ),
    ] = None,
    max_tensors: Annotated[
        int | None, typer.Option(metavar="N", help="Tensors that a file holds at most.")
    ] = None,
) -> None:
    """Split a GGUF file into several.

    The first file takes the metadata. It stands for the whole model wherever
    one is asked for, here and in other GGUF programs, as long as the parts keep
    their names and lie in one folder. No file is written over, and a run that
    fails or is interrupted leaves none behind.

    Examples:

      pyllama-rt split llama-70b.gguf -o llama-70b --max-size 20G

      pyllama-rt split my-llama.gguf -o parts/my-llama --max-tensors 128
    """
    if max_tensors is not None:
        check_int("--max-tensors", max_tensors, 1, 1 << 16)
    n_bytes = None if max_size is None else _bytes(max_size)
    with file_progress("Splitting") as progress:
        paths = split_file(
            source, prefix, max_bytes=n_bytes, max_tensors=max_tensors, progress=progress
        )
    what = f"first of {len(paths)} files" if len(paths) > 1 else "the only file, as all fits it"
    print_note(f"{paths[0]}: {what}")


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.upper())
    if match is None:
        raise ConfigError(f"--max-size: expected bytes as in 500M or 2G, found {shown(text)}")
    return int(match[1]) * _UNITS[match[2]]
