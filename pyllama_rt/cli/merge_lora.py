"""`pyllama-rt merge-lora`: adapters added to the weights of their base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyllama_rt.cli.file_progress import file_progress
from pyllama_rt.cli.plan_report import print_written
from pyllama_rt.cli.streams import print_note
from pyllama_rt.config import MAX_THREADS, check_int
from pyllama_rt.convert import merge_adapters
from pyllama_rt.errors import ConfigError

_BASE = typer.Argument(
    metavar="BASE", help="A Hugging Face directory or a GGUF file.", show_default=False
)
_ADAPTERS = typer.Argument(
    metavar="LORA[,LORA...]",
    help="Adapters, added in this order: folders that peft saved, or GGUF adapter files.",
    show_default=False,
)
_OUT = typer.Option(
    "--out",
    "-o",
    metavar="OUT",
    help="The GGUF file to write, or for a Hugging Face BASE also a new folder.",
    show_default=False,
)
_OUTTYPE = typer.Option(
    metavar="TYPE",
    help="Type of the weights: f32, f16 or bf16, for GGUF any that quantize takes. Default: as "
    "BASE stores them; from a directory to GGUF f16 or bf16, whichever it is in.",
)
_THREADS = typer.Option(metavar="N", help="Threads that quantise. Default: all physical cores.")


def merge_lora(
    base: Annotated[Path, _BASE],
    adapters: Annotated[str, _ADAPTERS],
    out: Annotated[Path, _OUT],
    *,
    outtype: Annotated[str | None, _OUTTYPE] = None,
    threads: Annotated[int | None, _THREADS] = None,
) -> None:
    """Write a model with LoRA adapters added to its weights.

    W + alpha/rank * B * A is computed in f32, whatever the types of BASE and
    OUT. An embedding and a head that an adapter brings as a whole replace
    those of BASE, and the vocabulary grows with them; the tokenizer is then
    that of the last adapter that has one in its folder. A quantised BASE is
    decoded, merged and encoded again, which costs some quality; start from the
    original weights where you have them.

    Memory stays small whatever the model's size, and a run that fails or is
    interrupted leaves nothing behind.

    Examples:

      pyllama-rt merge-lora ./llama-7b ./style-lora -o styled.gguf

      pyllama-rt merge-lora ./llama-7b ./plus-lora,./alpaca-lora -o ./alpaca-plus

      pyllama-rt merge-lora base.gguf style.gguf -o styled.gguf --outtype q4_k_m
    """
    if threads is not None:
        check_int("--threads", threads, 1, MAX_THREADS)
    paths = adapters.split(",")
    if "" in paths:
        raise ConfigError(f"LORA: expected paths between commas, found {adapters!r}")
    with file_progress("Merging") as move:
        merged = merge_adapters(base, paths, out, outtype=outtype, n_threads=threads, progress=move)
    applied = merged.applied
    print_note(f"{applied.n_changed} tensors changed, {applied.n_replaced} replaced")
    if applied.grown_from is not None:
        print_note(
            f"vocabulary: {applied.grown_from:,} pieces became {applied.vocab_size:,}, with the "
            f"tokenizer of {applied.tokenizer}"
        )
    print_written(out, merged.plan)
