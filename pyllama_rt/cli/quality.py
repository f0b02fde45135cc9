"""`pyllama-rt quality`: what every level of quantising makes of a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pyllama_rt.cli.grouped import build, grouped
from pyllama_rt.cli.quality_files import write_files
from pyllama_rt.cli.quality_report import Setting, as_data, print_report
from pyllama_rt.cli.streams import print_note
from pyllama_rt.cli.text_file import read_text
from pyllama_rt.errors import ConfigError
from pyllama_rt.evaluate.quality import (
    DEFAULT_LEVELS,
    QualityConfig,
    QualityReport,
    Step,
    measure_quality,
)
from pyllama_rt.evaluate.quality import Progress as Callback
from pyllama_rt.evaluate.windows import WindowConfig
from pyllama_rt.formats.atomic_folder import atomic_folder
from pyllama_rt.quant.importance import read_importance

_TEXT = typer.Option(
    "--file", "-f", metavar="TEXT", help="A text in UTF-8; - reads standard input."
)
_OUT = typer.Option(
    "--out",
    "-o",
    metavar="FOLDER",
    help="Also write quality.md, quality.json and a picture, quality.svg and quality.png, into a "
    "new folder.",
)


@dataclass(frozen=True)
class QualityOptions:
    """What is measured; the fields are those of the configs."""

    levels: Annotated[
        str, typer.Option(metavar="TYPE,…", help="Levels, as quantize takes them.")
    ] = ",".join(DEFAULT_LEVELS)
    n_ctx: Annotated[int, typer.Option("--ctx", metavar="N", help="Tokens of a window.")] = 512
    limit: Annotated[
        int | None,
        typer.Option(
            "--windows", metavar="N", help="Only the first N windows. Default: all the text."
        ),
    ] = None
    no_speed: Annotated[
        bool, typer.Option("--no-speed", help="Do not time prompts and generation.")
    ] = False
    n_threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", help="Threads. Default: all physical cores."),
    ] = None
    imatrix: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="An importance matrix to quantise with (see: pyllama-rt imatrix)."
        ),
    ] = None
    allow_requantize: Annotated[
        bool,
        typer.Option("--allow-requantize", help="Take a file that is quantised already."),
    ] = False

    def config(self) -> QualityConfig:
        """The same as a config. Raises: ConfigError for impossible values."""
        return build(
            QualityConfig,
            self,
            levels=tuple(level.strip() for level in self.levels.split(",")),
            windows=build(WindowConfig, self),
            speed=not self.no_speed,
            importance=None if self.imatrix is None else read_importance(self.imatrix),
        )


@grouped
def quality(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A GGUF file in F32, F16 or BF16.", show_default=False
        ),
    ],
    *,
    text: Annotated[str | None, _TEXT] = None,
    out: Annotated[Path | None, _OUT] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    options: QualityOptions,
) -> None:
    """Measure what each level of quantising costs a model.

    Quantises the model to each level in turn, in the temporary folder, and
    compares it with what it was: size, perplexity and its ratio to the
    model's own, KL divergence (0: the same predictions), how often both hold
    the same token the likeliest, and speed. Then it says which level to take.

    Take a text of the kind that the model is for. Some thousand scored
    tokens tell levels apart, half of a window each: for a large model
    --windows 40 will do, where a whole text takes hours. The temporary folder
    (TMPDIR) holds the largest level and the model's predictions, four bytes
    for each scored token and piece of the vocabulary.

    Examples:

      pyllama-rt quality my-llama-f16.gguf -f book.txt

      pyllama-rt quality my-llama-f16.gguf -f book.txt --windows 40 --out report

      pyllama-rt quality my-llama-f16.gguf -f book.txt --levels q4_0,q4_k_m

      pyllama-rt quality my-llama-f16.gguf -f book.txt --no-speed --json
    """
    config = options.config()
    if text is None:
        raise ConfigError("no text: give one with -f")
    with ExitStack() as stack:
        # Entered first, so that a folder that cannot be made is known before hours of work.
        folder = None if out is None else stack.enter_context(atomic_folder(out))
        content = read_text(text)
        with _progress() as move:
            report = measure_quality(model, content, config, move)
        setting = Setting.of(model, text, options.imatrix)
        _print(report, setting, as_json)
        if folder is not None and not write_files(folder, report, setting):
            print_note(
                "note: there is no picture, because matplotlib is not installed: "
                "pip install 'pyllama-rt[plots]'"
            )


def _print(report: QualityReport, setting: Setting, as_json: bool) -> None:
    if as_json:
        data = as_data(report, setting)
        print(json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False))
    else:
        print_report(report, setting)


@contextmanager
def _progress() -> Iterator[Callback]:
    """A bar on stderr with level, stage and the value up to now, where that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[value]}"),
    )
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task("", total=None, value="")
        label = ""

        def move(step: Step) -> None:
            nonlocal label
            now = f"{step.level} ({step.n} of {step.n_levels}): {step.stage}"
            if now != label:  # so that the time remaining is that of this stage
                progress.reset(task, description=now)
                label = now
            value = "" if step.perplexity is None else f"perplexity {step.perplexity:.4f}"
            progress.update(task, completed=step.n_done, total=step.n_all, value=value)

        yield move
