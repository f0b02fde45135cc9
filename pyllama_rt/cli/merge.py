"""`pyllama-rt merge`: the files of a split GGUF model to one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyllama_rt.cli.file_progress import file_progress
from pyllama_rt.cli.streams import print_note
from pyllama_rt.convert import merge_file


def merge(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="PART.gguf",
            help="The first part, or any other; the rest are found beside it.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="OUT.gguf", help="The file to write.", show_default=False
        ),
    ],
) -> None:
    """Join the parts of a split GGUF model into one file.

    Split models can be used as they are; one file is easier to carry about.
    The parts stay.

    Examples:

      pyllama-rt merge llama-70b-00001-of-00003.gguf -o llama-70b.gguf
    """
    with file_progress("Merging") as progress:
        n_parts = merge_file(source, out, progress=progress)
    print_note(f"{out}: parts joined: {n_parts}")
