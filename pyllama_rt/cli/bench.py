"""`pyllama-rt bench`: how fast a model runs, beside what this machine allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pyllama_rt import __version__
from pyllama_rt.cli.grouped import build, grouped
from pyllama_rt.cli.streams import print_note, printable
from pyllama_rt.engine.bench import BenchConfig, Speed, bench_model
from pyllama_rt.engine.bench import Progress as Callback
from pyllama_rt.engine.machine import instruction_sets, processor_name
from pyllama_rt.errors import ConfigError

_WIDTH = 100
"""Of the table where no terminal says how wide it is."""


@dataclass(frozen=True)
class BenchOptions:
    """What is measured; the fields are those of BenchConfig."""

    prompt: Annotated[
        int,
        typer.Option("--prompt", "-p", metavar="N", help="Tokens of the prompt; 0: no prompt."),
    ] = 512
    generate: Annotated[
        int,
        typer.Option("--generate", "-n", metavar="N", help="Tokens generated; 0: none."),
    ] = 128
    threads: Annotated[
        str | None,
        typer.Option(
            "--threads",
            "-t",
            metavar="N,…",
            help="Threads, several after one another. Default: all physical cores.",
        ),
    ] = None
    depths: Annotated[
        str,
        typer.Option(
            "--depth", "-d", metavar="N,…", help="Tokens in the cache before; one or several."
        ),
    ] = "0"
    repetitions: Annotated[
        int, typer.Option("--repetitions", "-r", metavar="N", help="Measured runs of each.")
    ] = 5
    n_batch: Annotated[
        int, typer.Option("--batch", metavar="N", help="Tokens of the prompt read at a time.")
    ] = 512
    kv_type: Annotated[
        str, typer.Option("--kv-type", metavar="TYPE", help="Type of the cache: f16, f32 or q8_0.")
    ] = "f16"

    def config(self) -> BenchConfig:
        """The same as a config. Raises: ConfigError for impossible values."""
        return build(
            BenchConfig,
            self,
            threads=() if self.threads is None else _numbers("--threads", self.threads),
            depths=_numbers("--depth", self.depths),
        )


@grouped
def bench(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A GGUF file.", show_default=False)
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    options: BenchOptions,
) -> None:
    """Measure how fast a model runs.

    Reads a prompt of random tokens, then generates, several times each after
    a run that does not count. Tokens per second are means, with the standard
    deviation behind. Before and after, two bounds are measured with the same
    threads: multiply-accumulates of int8 in registers, which bound the
    prompt, and bytes read from memory, which bound generation: every token
    reads all weights, and the cache. The last column is the share that was
    reached. Weights in floating point have no bound for the prompt.

    Close other programs, and see that the deviation is small.

    Examples:

      pyllama-rt bench my-llama.gguf

      pyllama-rt bench my-llama.gguf -p 512 -n 128 -t 1,2

      pyllama-rt bench my-llama.gguf -p 0 -d 0,4096 -r 3

      pyllama-rt bench my-llama.gguf --json > today.json
    """
    config = options.config()
    with _progress() as move:
        speeds = bench_model(model, config, move)
    if as_json:
        print(json.dumps(_report(model, speeds), ensure_ascii=False, indent=1, allow_nan=False))
    else:
        _print(speeds)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers between commas. Raises: ConfigError if there is something else."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"{option}: expected whole numbers with commas between, found {text!r}"
        ) from None


@contextmanager
def _progress() -> Iterator[Callback]:
    """A bar on stderr, where that is a terminal."""
    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        task = progress.add_task("", total=None)
        yield lambda label, n_done, n_all: progress.update(
            task, description=label, completed=n_done, total=n_all
        )


def _report(model: Path, speeds: list[Speed]) -> dict[str, Any]:
    return {
        "version": __version__,
        "model": str(model),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": processor_name(),
        "instruction_set": next(isa.name for isa in instruction_sets() if isa.is_selected),
        "weight_bytes": speeds[0].work.weight_bytes,
        "results": [
            {
                "test": speed.kind,
                "n_tokens": speed.n_tokens,
                "depth": speed.depth,
                "threads": speed.n_threads,
                "tokens_per_second": speed.mean,
                "standard_deviation": speed.spread,
                "runs": speed.rates,
                "macs_per_second": speed.macs_per_second,
                "bytes_per_second": speed.bytes_per_second,
                "int8_peak": speed.roofline.int8_peak,
                "read_bandwidth": speed.roofline.read_bandwidth,
                "fraction": speed.fraction,
            }
            for speed in speeds
        ],
    }


def _print(speeds: list[Speed]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("test")
    for name in ("threads", "depth", "tokens/s", "±", "reached", "machine", "share"):
        table.add_column(name, justify="right")
    for speed in speeds:
        table.add_row(
            f"{speed.kind} {speed.n_tokens}",
            str(speed.n_threads),
            str(speed.depth),
            f"{speed.mean:.2f}",
            f"{speed.spread:.2f}",
            *_bound_words(speed),
            "-" if speed.fraction is None else f"{speed.fraction:.0%}",
        )
    console = Console()
    Console(width=None if console.is_terminal else _WIDTH).print(table)
    chosen = next(isa.name for isa in instruction_sets() if isa.is_selected)
    print(printable(f"{processor_name() or 'unknown processor'}, {chosen}"))
    if any(speed.roofline.read_bandwidth is None for speed in speeds):
        print_note("the read bandwidth was not measured: there is too little free memory")


def _bound_words(speed: Speed) -> tuple[str, str]:
    """What was reached and what the machine allows, with units."""
    if speed.macs_per_second is not None:
        return f"{speed.macs_per_second / 1e9:.0f} GMAC/s", (
            f"{speed.roofline.int8_peak / 1e9:.0f} GMAC/s" if speed.work.is_quantized else "-"
        )
    reached, bound = speed.bytes_per_second, speed.roofline.read_bandwidth
    return (
        "-" if reached is None else f"{reached / 1e9:.1f} GB/s",
        "-" if bound is None else f"{bound / 1e9:.1f} GB/s",
    )
