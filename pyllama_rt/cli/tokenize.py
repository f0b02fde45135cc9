"""`pyllama-rt tokenize`: the tokens of a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pyllama_rt.cli.streams import printable, read_stdin
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.tokenizer.registry import load_tokenizer


def tokenize(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A GGUF file.", show_default=False)
    ],
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT", help="The text; - reads standard input.", show_default=False
        ),
    ],
    *,
    special: Annotated[
        bool, typer.Option("--special", help="Turn pieces such as <s> in the text into their ids.")
    ] = False,
    no_bos: Annotated[
        bool, typer.Option("--no-bos", help="Leave out what the model wants before a text.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show the tokens of a text.

    One line per token: its id and its bytes as text, bytes that are no text
    as \\\\xNN.

    Examples:

      pyllama-rt tokenize my-llama.gguf "Hello, world"

      pyllama-rt tokenize my-llama.gguf "<s>[INST] Hi [/INST]" --special --no-bos --json
    """
    if text == "-":
        text = read_stdin()
    with GgufFile.open(model) as file:
        tokenizer = load_tokenizer(file, file.path)
        ids = tokenizer.encode(text, add_bos=False if no_bos else None, special=special)
        pieces = [
            tokenizer.piece(token, special=True).decode("utf-8", "backslashreplace")
            for token in ids
        ]
    if as_json:
        print(json.dumps({"ids": ids, "pieces": pieces}, ensure_ascii=False))
        return
    width = max((len(str(token)) for token in ids), default=1)
    for token, piece in zip(ids, pieces, strict=True):
        print(f"{token:{width}}  {printable(piece)!r}".replace("\\\\", "\\"))
