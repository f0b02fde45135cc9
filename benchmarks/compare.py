"""Compares this runtime with llama-cpp-python on a LLaMA of 1.1 B parameters and random weights.

usage: python benchmarks/compare.py [--quick] [--types Q4_K_M,Q8_0] [--threads 1,2] …

For each type it writes the model, then takes rounds: in each it measures the int8 peak and the read
bandwidth of this machine, and lets this runtime and the peer (its extra buffers off and on; the
better one counts) read a prompt and generate, one after the other, each in a process of its own.
It prints medians and ratios, whether the project's bars are met, and writes JSON and a chart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from chart import draw
from random_model import write_random_llama
from rich import box
from rich.console import Console
from rich.table import Table
from score import KINDS, OURS, PEERS, Round, Row, make_row
from workers import FOLDER, Worker

from pyllama_rt import __version__, _core
from pyllama_rt.engine.machine import processor_name
from pyllama_rt.errors import PyllamaRtError
from pyllama_rt.quant.mixes import find_mix

TYPES = "Q2_K,Q3_K_M,Q4_0,Q4_K_M,Q5_K_M,Q6_K,Q8_0,F16,BF16"
QUICK_TYPES = "Q4_K_M,Q8_0"
BOUND_SECONDS = 0.3
HOW_TO_INSTALL = (
    "llama-cpp-python is not installed, so that its columns stay empty. To build it for this "
    "processor from its source package: "
    'CMAKE_ARGS="-DGGML_NATIVE=on" pip install --no-binary llama-cpp-python llama-cpp-python'
)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def numbers(text: str) -> list[int]:
    """Whole numbers above 0 with commas between."""
    found = [int(part) for part in text.split(",")]
    if min(found) < 1:
        raise ValueError
    return found


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--types", help=f"mixes with commas between (default: {TYPES})", default=argparse.SUPPRESS)
    add("--threads", type=numbers, default="1,2", help="several after one another")
    add("--prompt", type=int, help="tokens of the prompt (default: 512)", default=argparse.SUPPRESS)
    add("--generate", type=int, help="tokens generated (default: 32)", default=argparse.SUPPRESS)
    add("--rounds", type=int, help="the median counts (default: 5)", default=argparse.SUPPRESS)
    add("--isa", choices=_core.isa_names(), help="force an instruction set on this runtime")
    add("--peer-python", default=sys.executable, help="the interpreter that has the peer")
    add("--quick", action="store_true", help="few types and short runs, to see that it works")
    add("--folder", type=Path, help="where models are written, and looked for first")
    add("--keep", action="store_true", help="do not remove the models that were written")
    add("--out", type=Path, default=FOLDER / "results", help="where JSON and chart go")
    quick = {"types": QUICK_TYPES, "prompt": 128, "generate": 8, "rounds": 2}
    usual = {"types": TYPES, "prompt": 512, "generate": 32, "rounds": 5}
    given = parser.parse_args(arguments)
    for name, value in (quick if given.quick else usual).items():
        setattr(given, name, getattr(given, name, value))
    given.types = [find_mix(name).name.upper() for name in given.types.split(",")]
    for name in ("prompt", "generate", "rounds"):
        if getattr(given, name) < 1:
            parser.error(f"--{name}: expected a number above 0, found {getattr(given, name)}")
    return given


def has_peer(python: str) -> bool:
    """Whether that interpreter can import the peer."""
    try:
        done = subprocess.run([python, "-c", "import llama_cpp"], capture_output=True, check=False)
    except OSError as error:
        raise PyllamaRtError(f"--peer-python: cannot start {python}: {error}") from error
    return done.returncode == 0


def start_workers(
    stack: ExitStack, model: Path, threads: int, with_peer: bool, options: argparse.Namespace
) -> dict[str, Worker]:
    """One process for each way to run the model; their models are loaded one after the other."""
    counts = [str(model), str(options.prompt), str(options.generate), str(threads)]
    commands = {OURS: [sys.executable, str(FOLDER / "worker_ours.py"), *counts]}
    if with_peer:
        peer = [options.peer_python, str(FOLDER / "worker_peer.py"), *counts]
        commands |= {name: [*peer, str(i)] for i, name in enumerate(PEERS)}
    workers = {}
    for name, command in commands.items():
        workers[name] = Worker(name, command, options.isa if name == OURS else None)
        stack.callback(workers[name].close)
        if workers[name].failure is not None:
            say(f"  {name}: {workers[name].failure}")
        if options.isa == "avx2" and "AVX512 = 1" in str(workers[name].ready.get("system")):
            say(f"  {name}: built with AVX-512; the bar is against one without (--peer-python)")
    return workers


def take_round(workers: dict[str, Worker], threads: int, isa: str, first: int) -> Round:
    """Measures the machine, then everybody, beginning with another one each time."""
    peak = _core.measure_int8_peak(isa, threads, BOUND_SECONDS)
    bandwidth = _core.measure_read_bandwidth(threads, BOUND_SECONDS)
    names = list(workers)
    speeds = {}
    for name in names[first % len(names) :] + names[: first % len(names)]:
        had_failed = workers[name].failure is not None
        found = workers[name].measure()
        if found is not None:
            speeds[name] = found
        elif not had_failed:
            say(f"  {name}: {workers[name].failure}")
    return Round(peak, bandwidth, speeds)


def compare_type(
    type_: str, model: Path, with_peer: bool, options: argparse.Namespace, record: dict[str, Any]
) -> list[Row]:
    """All rounds of one type, noted in the record too."""
    rows: list[Row] = []
    isa = options.isa or ""
    narrow = isa in ("avx2", "scalar")  # their peer is one that has no more either
    for threads in options.threads:
        with ExitStack() as stack:
            say(f"{type_}, {threads} thread{'s' * (threads > 1)}")
            workers = start_workers(stack, model, threads, with_peer, options)
            rounds = []
            for i in range(options.rounds):
                rounds.append(take_round(workers, threads, isa, i))
                say(f"  round {i + 1}: {_words(rounds[-1])}")
            ready = {name: worker.ready for name, worker in workers.items()}
            record["runs"].append(
                {
                    "type": type_,
                    "threads": threads,
                    "workers": ready,
                    "failures": {n: w.failure for n, w in workers.items() if w.failure},
                    "rounds": [asdict(r) for r in rounds],
                }
            )
            complete = [r for r in rounds if OURS in r.speeds]
            if not complete:
                raise PyllamaRtError(f"{type_}: this runtime failed: {workers[OURS].failure}")
            rows += [
                make_row(type_, threads, kind, complete, ready[OURS], narrow=narrow)
                for kind in KINDS
            ]
    return rows


def _words(found: Round) -> str:
    speeds = ", ".join(
        f"{name} {s['prompt']:.1f} and {s['generate']:.1f}" for name, s in found.speeds.items()
    )
    return (
        f"{speeds} tokens/s; {found.int8_peak / 1e9:.0f} GMAC/s, "
        f"{found.read_bandwidth / 1e9:.1f} GB/s"
    )


def print_table(rows: list[Row]) -> None:
    """The result on stdout."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("type")
    for name in ("threads", "test", "ours", "peer", "ratio", "of bound"):
        table.add_column(name, justify="left" if name == "test" else "right")
    table.add_column("bar")
    table.add_column("met")
    for row in rows:
        table.add_row(
            row.type, str(row.threads), row.kind, f"{row.ours:.1f}",
            "-" if row.peer is None else f"{row.peer:.1f}",
            "-" if row.ratio is None else f"{row.ratio:.2f}",
            "-" if row.fraction is None else f"{row.fraction:.2f}",
            row.bar, {True: "met", False: "MISSED", None: "-"}[row.met],
        )  # fmt: skip
    console = Console()
    Console(width=None if console.is_terminal else 120).print(table)


def new_record(options: argparse.Namespace, with_peer: bool) -> dict[str, Any]:
    return {
        "command": " ".join(["python", "benchmarks/compare.py", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "processor": processor_name(),
        "version": __version__,
        "instruction_set": _core.selected_isa(options.isa or ""),
        "prompt": options.prompt,
        "generate": options.generate,
        "peer": with_peer,
        "runs": [],
    }


def write_results(rows: list[Row], record: dict[str, Any], options: argparse.Namespace) -> None:
    """JSON and chart, after every type, so that a run that is cut short leaves something."""
    options.out.mkdir(parents=True, exist_ok=True)
    name = "compare" + (f"-{options.isa}" if options.isa else "")
    name += "-quick" if options.quick else ""  # not over the results that are published
    record["rows"] = [{**asdict(row), "ratio": row.ratio} for row in rows]
    text = json.dumps(record, ensure_ascii=False, indent=1)
    (options.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    title = (
        f"LLaMA of 1.1 B parameters, prompt of {options.prompt} tokens. "
        f"{record['processor']}, {record['instruction_set']}, {record['date']}"
    )
    if rows and not draw(rows, title, options.out / f"{name}.svg"):
        say('no chart: it needs matplotlib, pip install ".[bench]"')


def main() -> int:
    options = parse()
    with_peer = has_peer(options.peer_python)
    if not with_peer:
        say(HOW_TO_INSTALL)
    rows: list[Row] = []
    record = new_record(options, with_peer)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for type_ in options.types:
            model = folder / f"1b-{type_}.gguf"
            is_new = not model.exists()
            if is_new:
                say(f"{type_}: writing {model}")
                write_random_llama(model, type_)
            try:
                rows += compare_type(type_, model, with_peer, options, record)
            finally:
                if is_new and not options.keep:
                    model.unlink()
            write_results(rows, record, options)
    print_table(rows)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PyllamaRtError as error:
        sys.exit(f"error: {error}")
