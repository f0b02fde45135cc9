"""`pyllama-rt convert`: a checkpoint to a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyllama_rt.cli.file_progress import file_progress
from pyllama_rt.cli.plan_report import print_written
from pyllama_rt.config import MAX_THREADS, check_int
from pyllama_rt.convert import convert_checkpoint


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="A Hugging Face or Meta directory, or a llama2.c .bin file.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="OUT.gguf", help="The file to write.", show_default=False
        ),
    ],
    *,
    outtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="Type of the weights: f32, f16, bf16, q8_0, or any other that quantize takes. "
            "Default: f16 or bf16, whichever the checkpoint is in.",
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Vocabulary of a llama2.c checkpoint. Default: tok<vocab size>.bin or "
            "tokenizer.bin beside it.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", help="Threads that quantise. Default: all physical cores."),
    ] = None,
) -> None:
    """Write a checkpoint as a GGUF file.

    A Hugging Face directory needs config.json, tokenizer.model or
    tokenizer.json, and model.safetensors or pytorch_model.bin, or shards with
    their index; Meta's params.json, consolidated.00.pth … and tokenizer.model.
    No code in them is run, memory stays small, and a run that fails leaves no
    file behind.

    Examples:

      pyllama-rt convert ./Llama-2-7b-chat -o llama-2-7b-chat.gguf

      pyllama-rt convert ./Llama-2-7b-chat -o small.gguf --outtype q4_k_m

      pyllama-rt convert stories260K.bin -o stories.gguf --outtype f32
    """
    if threads is not None:
        check_int("--threads", threads, 1, MAX_THREADS)
    with file_progress("Converting") as progress:
        plan = convert_checkpoint(
            source, out, outtype=outtype, tokenizer=tokenizer, n_threads=threads, progress=progress
        )
    print_written(out, plan)
