"""`pyllama-rt convert-lora`: a peft adapter to a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyllama_rt.cli.file_progress import file_progress
from pyllama_rt.cli.streams import print_note
from pyllama_rt.convert import convert_adapter


def convert_lora(
    adapter: Annotated[
        Path,
        typer.Argument(metavar="LORA", help="The folder that peft saved.", show_default=False),
    ],
    base: Annotated[
        Path,
        typer.Option(
            metavar="BASE",
            help="The model that it belongs to: a GGUF file, or a Hugging Face directory, of which "
            "config.json alone will do.",
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
    """Write a LoRA adapter as a GGUF file.

    The file is for programs that add adapters while they run, llama.cpp among
    them. It takes the place of merging: one base in memory, several adapters
    of a few megabytes. An adapter that brings a whole embedding or head cannot
    be written so; merge it with merge-lora.

    Where BASE has its weights, the file remembers a fingerprint of them, which
    does not depend on their quantisation, and merge-lora refuses it for
    another base.

    Examples:

      pyllama-rt convert-lora ./style-lora --base llama-7b-q4.gguf -o style.gguf

      pyllama-rt convert-lora ./style-lora --base ./llama-7b -o style.gguf
    """
    with file_progress("Converting") as move:
        done = convert_adapter(adapter, base, out, progress=move)
    ranks = ", ".join(map(str, done.ranks))
    print_note(f"{out}: {done.n_pairs} pairs of rank {ranks}, {done.n_bytes:,} bytes")
