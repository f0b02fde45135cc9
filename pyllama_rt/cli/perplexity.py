"""`pyllama-rt perplexity`: how well a model predicts a text, and how far it is from another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pyllama_rt.cli.grouped import build, grouped
from pyllama_rt.cli.options import LoadOptions
from pyllama_rt.cli.perplexity_report import as_data, as_text
from pyllama_rt.cli.streams import printable
from pyllama_rt.cli.text_file import read_text
from pyllama_rt.engine.load import Model, load_model
from pyllama_rt.errors import ConfigError
from pyllama_rt.evaluate.base_file import BaseFile
from pyllama_rt.evaluate.base_writer import write_base
from pyllama_rt.evaluate.divergence import Divergence, check_vocabulary, compare
from pyllama_rt.evaluate.perplexity import Perplexity, measure_perplexity
from pyllama_rt.evaluate.perplexity import Progress as Callback
from pyllama_rt.evaluate.windows import WindowConfig, Windows, cut_windows, encode_text
from pyllama_rt.formats.atomic_file import same_file


@dataclass(frozen=True)
class WindowOptions(LoadOptions):
    """How the text is cut, and how the model is loaded; the fields are those of the configs."""

    n_ctx: Annotated[
        int | None,
        typer.Option(
            "--ctx", metavar="N", help="Tokens of a window. Default: 512, or those of --kl-base."
        ),
    ] = None
    stride: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Let windows begin N tokens apart and score the last N of each: slower by ctx/N, "
            "and every token sees more of the text.",
        ),
    ] = None
    limit: Annotated[
        int | None, typer.Option("--windows", metavar="N", help="Only the first N windows.")
    ] = None

    def windows(self, base: BaseFile | None) -> WindowConfig:
        """How the text is cut. Raises: ConfigError for what is impossible, or with this base."""
        if base is None:
            n_ctx = WindowConfig().n_ctx if self.n_ctx is None else self.n_ctx
            return build(WindowConfig, self, n_ctx=n_ctx)
        if self.stride is not None:
            raise ConfigError("--stride: expected none with --kl-base, whose windows have none")
        if self.n_ctx not in (None, base.n_ctx):
            raise ConfigError(
                f"--ctx: expected {base.n_ctx} or nothing, as {base.path} was made, found "
                f"{self.n_ctx}"
            )
        return build(WindowConfig, self, n_ctx=base.n_ctx)


_TEXT = typer.Option(
    "--file", "-f", metavar="TEXT", help="A text in UTF-8; - reads standard input."
)
_SAVE = typer.Option(
    "--save-logits", metavar="FILE", help="Also write what the model predicts, for --kl-base."
)
_BASE = typer.Option(
    "--kl-base",
    metavar="FILE",
    help="Compare with what --save-logits wrote with another model; it holds the text too.",
)


@grouped
def perplexity(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A GGUF file.", show_default=False)
    ],
    *,
    text: Annotated[str | None, _TEXT] = None,
    save_logits: Annotated[Path | None, _SAVE] = None,
    kl_base: Annotated[Path | None, _BASE] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    options: WindowOptions,
) -> None:
    """Measure how well a model predicts a text.

    The text is cut into windows of --ctx tokens and the second half of each
    is scored, as llama-perplexity does. Lower is better; figures compare only
    for one text, one --ctx and one vocabulary. Behind each stands its
    standard error.

    How much a model lost by quantising shows best beside the file that it
    was made of: save its predictions once, then compare. Such a file takes
    two bytes for each scored token and piece of the vocabulary, and
    llama-perplexity reads and writes the same.

    Examples:

      pyllama-rt perplexity my-llama.gguf -f wiki.test.raw

      pyllama-rt perplexity my-llama.gguf -f book.txt --ctx 2048 --windows 20

      pyllama-rt perplexity my-llama-f16.gguf -f book.txt --save-logits base.kld

      pyllama-rt perplexity my-llama-q4.gguf --kl-base base.kld --json
    """
    if text is None and kl_base is None:
        raise ConfigError("no text: give one with -f, or a base that holds one with --kl-base")
    if save_logits is not None:
        _check_save(save_logits, kl_base, options, [str(model), *([text] if text else [])])
    with ExitStack() as stack:
        base = None if kl_base is None else stack.enter_context(BaseFile(kl_base))
        cut = options.windows(base)
        content = None if text is None else read_text(text)
        config = replace(options.config(), n_ctx=cut.n_ctx)
        loaded = stack.enter_context(load_model(model, config))
        windows = _windows(loaded, content, cut, base)
        found = _measure(loaded, windows, base, save_logits)
    if as_json:
        data = as_data(found, model, windows)
        print(json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False))
    else:
        print(as_text(found, windows))


def _check_save(out: Path, kl_base: Path | None, options: WindowOptions, inputs: list[str]) -> None:
    """Raises ConfigError where the predictions cannot be saved, or over one of the inputs."""
    if kl_base is not None:
        raise ConfigError("--save-logits: expected no --kl-base beside it; run them one by one")
    if options.stride is not None:
        raise ConfigError("--save-logits: expected no --stride, for which the file has no place")
    for path in inputs:
        if same_file(path, out):
            raise ConfigError(f"{out}: --save-logits would replace an input; choose another name")


def _windows(
    model: Model, content: str | None, cut: WindowConfig, base: BaseFile | None
) -> Windows:
    """Those of the text, which must be the base's where there is one."""
    ids = [] if content is None else encode_text(model.tokenizer, content)
    if base is not None:
        check_vocabulary(model, base)
        if content is not None:
            base.check_ids(ids)
        ids = base.ids.tolist()
    return cut_windows(model.tokenizer, ids, cut)


def _measure(
    model: Model, windows: Windows, base: BaseFile | None, save_logits: Path | None
) -> Perplexity | Divergence:
    with ExitStack() as stack:
        move = stack.enter_context(_progress(printable(model.path.name)))
        if base is not None:
            return compare(model, windows, base, progress=move)
        if save_logits is None:
            return measure_perplexity(model, windows, progress=move)
        with write_base(save_logits, windows, model.n_vocab) as writer:
            return measure_perplexity(model, windows, keep=writer.add, progress=move)


@contextmanager
def _progress(label: str) -> Iterator[Callback]:
    """A bar on stderr with the value up to now, where that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[value]}"),
    )
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task(label, total=None, value="")

        def move(n_done: int, n_all: int, value: float) -> None:
            progress.update(task, completed=n_done, total=n_all, value=f"perplexity {value:.4f}")

        yield move
