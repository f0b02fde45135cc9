"""`pyllama-rt quantize --target-size`: the options, and the types that they lead to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from pyllama_rt.cli.grouped import build
from pyllama_rt.cli.sizes import parse_size
from pyllama_rt.cli.streams import print_note, printable
from pyllama_rt.cli.text_file import read_text
from pyllama_rt.errors import ConfigError
from pyllama_rt.evaluate.sensitivity import Progress
from pyllama_rt.evaluate.target_size import N_CTX, N_WINDOWS, SizeTarget, choose_types
from pyllama_rt.evaluate.windows import WindowConfig
from pyllama_rt.quant.importance import ImportanceMatrix


@dataclass(frozen=True)
class How:
    """How weights are quantised; the fields are keywords of `quantize_file`."""

    tensor_types: tuple[str, ...]
    allow_requantize: bool
    importance: ImportanceMatrix | None
    n_threads: int | None


@dataclass(frozen=True)
class TargetOptions:
    """How large the file is to be, and what text tells how to reach that."""

    target_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="In place of TYPE: choose the type of each weight so that the file has this size "
            "(3.5GiB, 900MB, bytes) and loses least on the text of -f. Reads it once a weight.",
        ),
    ] = None
    target_bpw: Annotated[
        float | None,
        typer.Option(metavar="BITS", help="The same for this mean of bits per weight."),
    ] = None
    text: Annotated[
        str | None,
        typer.Option(
            "--file", "-f", metavar="TEXT", help="A text in UTF-8 for a target; - reads stdin."
        ),
    ] = None
    n_ctx: Annotated[
        int | None,
        typer.Option(
            "--ctx", metavar="N", help=f"Tokens of a window of the text. Default: {N_CTX}."
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            "--windows",
            metavar="N",
            help=f"Windows that are read, from the first. Default: {N_WINDOWS}.",
        ),
    ] = None

    def target(self) -> SizeTarget | None:
        """What was asked for, if anything. Raises: ConfigError for impossible values."""
        if self.target_size is None and self.target_bpw is None:
            for option, value in (
                ("-f TEXT", self.text), ("--ctx", self.n_ctx), ("--windows", self.limit)
            ):  # fmt: skip
                if value is not None:
                    raise ConfigError(
                        f"{option} serves --target-size and --target-bpw; give one of them"
                    )
            return None
        if self.target_size is not None and self.target_bpw is not None:
            raise ConfigError("--target-size and --target-bpw: expected one of the two")
        if self.target_bpw is not None and not 0 < self.target_bpw <= 32:
            raise ConfigError(f"--target-bpw: expected up to 32 bits, found {self.target_bpw:g}")
        if self.text is None:
            raise ConfigError(
                "a target needs -f TEXT, on which the model shows what each weight needs; a few "
                "pages of what it is for will do"
            )
        if self.target_size is None:
            return SizeTarget(bits_per_weight=self.target_bpw)
        return SizeTarget(n_bytes=parse_size(self.target_size, "--target-size"))

    def choose(self, source: Path, target: SizeTarget, how: How) -> dict[str, str]:
        """The types of all weights; says on stderr what they are predicted to lose.

        Raises: as `choose_types`.
        """
        config = build(
            WindowConfig,
            replace(
                self,
                n_ctx=N_CTX if self.n_ctx is None else self.n_ctx,
                limit=N_WINDOWS if self.limit is None else self.limit,
            ),
        )
        text = read_text(self.text or "")
        with _progress() as move:
            found = choose_types(
                source, target, text, config=config, tensor_types=how.tensor_types,
                allow_requantize=how.allow_requantize, importance=how.importance,
                n_threads=how.n_threads, progress=move,
            )  # fmt: skip
        print_note(f"predicted KL divergence: {found.kl:.6f} a token")
        return found.types


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr, where that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("Measuring"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Bar(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)

        def move(n_done: int, n_all: int, name: str) -> None:
            bar.update(task, completed=n_done, total=n_all, description=printable(name))

        yield move
