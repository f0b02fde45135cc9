"""`pyllama-rt edit`: a GGUF file with other metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyllama_rt.cli.file_progress import file_progress
from pyllama_rt.cli.streams import print_note
from pyllama_rt.convert import edit_file


def edit(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN.gguf",
            help="The file to read; any part of a split model.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT.gguf",
            help="The file to write, another than IN.gguf.",
            show_default=False,
        ),
    ],
    *,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a key, which keeps its type; may be repeated. KEY:TYPE=VALUE adds one or "
            "changes its type: string, bool, uint32, int32, float32 …",
        ),
    ] = None,
    removals: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="KEY", help="Leave a key out; may be repeated."),
    ] = None,
) -> None:
    """Change the metadata of a GGUF file.

    Writes another file; the weights are copied as they are. A change after
    which the model could not be loaded any more is refused. Arrays can be
    removed but not set. `pyllama-rt inspect` lists the keys.

    Examples:

      pyllama-rt edit in.gguf -o out.gguf --set "general.name=My LLaMA"

      pyllama-rt edit in.gguf -o out.gguf --set llama.context_length=8192

      pyllama-rt edit in.gguf -o out.gguf --set general.license:string=mit

      pyllama-rt edit in.gguf -o out.gguf --remove tokenizer.chat_template
    """
    with file_progress("Copying") as progress:
        edits = edit_file(
            source, out, assignments=assignments or (), removals=removals or (), progress=progress
        )
    print_note(f"{out}: keys set: {len(edits.values)}, removed: {len(edits.removed)}")
