"""`pyllama-rt imatrix`: an importance matrix from a text, merged ones, and what they say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pyllama_rt.cli.imatrix_table import print_statistics
from pyllama_rt.cli.out_file import check_out
from pyllama_rt.cli.streams import print_note
from pyllama_rt.config import MAX_THREADS, check_int
from pyllama_rt.errors import ConfigError
from pyllama_rt.evaluate.importance import Progress as Callback
from pyllama_rt.evaluate.importance import collect_importance
from pyllama_rt.evaluate.windows import MIN_N_CTX
from pyllama_rt.quant.importance import ImportanceMatrix, merge, read_importance, write_importance
from pyllama_rt.small_file import read_small_file

_MAX_TEXT_BYTES = 1 << 30
_MAX_NUMBER = 1 << 30

_MODEL = typer.Argument(
    metavar="[MODEL]",
    help="A GGUF file, as precise as there is room for; none to merge only.",
    show_default=False,
)
_TEXT = typer.Option("--file", "-f", metavar="TEXT", help="The text to read: a file in UTF-8.")
_OUT = typer.Option("--out", "-o", metavar="OUT.gguf", help="The file to write.")
_CTX = typer.Option("--ctx", metavar="N", help="Tokens of a window.")
_WINDOWS = typer.Option(
    "--windows", metavar="N", help="Read N windows of the text. Default: all of it."
)
_HEAD = typer.Option(
    "--process-output", help="Also what enters the output head, which takes longer."
)
_CORRELATIONS = typer.Option(
    "--no-correlations",
    help="Leave out how columns go together, which quantize makes use of at few bits. The file of "
    "a 7B model then has 5 MB instead of 400 MB.",
)
_MERGE = typer.Option(
    "--merge", metavar="FILE", help="Add what this file has (GGUF or .dat); may be repeated."
)
_SHOW = typer.Option("--show", metavar="FILE", help="Only show what this file says.")
_THREADS = typer.Option(metavar="N", help="Threads. Default: all physical cores.")


def imatrix(
    model: Annotated[Path | None, _MODEL] = None,
    *,
    text: Annotated[Path | None, _TEXT] = None,
    out: Annotated[Path | None, _OUT] = None,
    n_ctx: Annotated[int, _CTX] = 512,
    windows: Annotated[int | None, _WINDOWS] = None,
    process_output: Annotated[bool, _HEAD] = False,
    no_correlations: Annotated[bool, _CORRELATIONS] = False,
    merged: Annotated[list[Path] | None, _MERGE] = None,
    show: Annotated[Path | None, _SHOW] = None,
    threads: Annotated[int | None, _THREADS] = None,
) -> None:
    """Measure which weights matter for a text.

    Runs the model over the text and writes, for every column of every weight
    matrix, the mean square of what enters it, and how columns go together: an
    importance matrix, which quantize --imatrix takes. The files are those of
    llama.cpp. About 100 windows of varied text will do; more change little.

    --show prints a row for each matrix, those of a kind together: tokens
    counted (of experts also how many met any), the mean and largest of the
    columns' mean squares, the columns that are active at all, how even they
    are (100 %: all alike), the share of the whole that the largest hundredth
    of them holds, and the cosine with the same matrix one layer before.
    Uneven ones gain most from the file.

    Examples:

      pyllama-rt imatrix model-f16.gguf -f text.txt -o imatrix.gguf

      pyllama-rt quantize model-f16.gguf small.gguf q3_k_m --imatrix imatrix.gguf

      pyllama-rt imatrix --merge one.gguf --merge two.gguf -o both.gguf

      pyllama-rt imatrix --show imatrix.gguf
    """
    if show is not None:
        _show(show, is_alone=not (model or text or out or merged))
        return
    check_int("--ctx", n_ctx, MIN_N_CTX, _MAX_NUMBER)
    check_int("--windows", 1 if windows is None else windows, 1, _MAX_NUMBER)
    check_int("--threads", 1 if threads is None else threads, 1, MAX_THREADS)
    if (model is None) != (text is None) or not (model or merged):
        raise ConfigError(
            "imatrix needs MODEL and -f TEXT, or --merge FILE, or --show FILE (see its --help)"
        )
    target = _checked_out(out, [path for path in (model, text) if path is not None])
    parts = [read_importance(path) for path in merged or ()]
    if model is not None and text is not None:
        with _progress() as move:
            found = collect_importance(
                model, _read_text(text), n_ctx=n_ctx, n_windows=windows, n_threads=threads,
                process_output=process_output, correlations=not no_correlations, dataset=text.name,
                progress=move,
            )  # fmt: skip
        parts.insert(0, found)
    matrix = merge(parts)
    write_importance(target, matrix)
    _report(target, parts, matrix)


def _checked_out(out: Path | None, inputs: list[Path]) -> Path:
    """The file to write. Raises: ConfigError now for what would otherwise fail after minutes."""
    if out is None:
        raise ConfigError("imatrix needs -o OUT.gguf, the file to write")
    check_out(out, inputs)
    return out


def _read_text(path: Path) -> str:
    return read_small_file(path, _MAX_TEXT_BYTES).decode("utf-8", "surrogateescape")


@contextmanager
def _progress() -> Iterator[Callback]:
    """A bar on stderr, where that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("Reading"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("windows"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task("", total=None)
        yield lambda n_done, n_all: progress.update(task, completed=n_done, total=n_all)


def _show(path: Path, *, is_alone: bool) -> None:
    if not is_alone:
        raise ConfigError("--show takes one file and nothing else; leave the rest out")
    print_statistics(read_importance(path))


def _report(out: Path, parts: list[ImportanceMatrix], matrix: ImportanceMatrix) -> None:
    print_note(
        f"{out}: {len(matrix.tensors)} tensors, {matrix.chunk_count} windows of "
        f"{matrix.chunk_size} tokens"
    )
    empty = sum(1 for found in matrix.tensors.values() if not found.counts.all())
    if empty:
        print_note(
            f"note: in {empty} tensors some experts met no token; a longer or more varied text "
            "reaches more"
        )
    lost = sum(
        1
        for name, found in matrix.tensors.items()
        if found.correlations is None and any(part.has_correlations(name) for part in parts)
    )
    if lost:
        print_note(
            f"note: of {lost} tensors not all files say how columns go together, so that the "
            "merged one does not; make those without them anew"
        )
