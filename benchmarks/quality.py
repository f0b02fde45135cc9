"""Quality of quantised files at equal size: this quantiser and llama.cpp's, with and without an
importance matrix, and the time that both take.

usage: python benchmarks/quality.py MODEL.gguf --text TEXT --calibration TEXT [--mixes a,b]

MODEL is a float model. TEXT is what the files are compared on, by their divergence from MODEL; the
importance matrix comes from the other text. Both files are run by this runtime. Needs
llama-cpp-python.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from time import perf_counter

import quality_chart
from peer_quantizer import PeerQuantizer

from pyllama_rt.convert import quantize_file
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.machine import processor_name
from pyllama_rt.errors import PyllamaRtError
from pyllama_rt.evaluate.baseline import Baseline
from pyllama_rt.evaluate.divergence import Divergence, compare
from pyllama_rt.evaluate.importance import collect_importance
from pyllama_rt.evaluate.target_size import SizeTarget, choose_types
from pyllama_rt.evaluate.windows import WindowConfig, Windows, cut_windows, encode_text
from pyllama_rt.quant.importance import ImportanceMatrix
from pyllama_rt.quant.mixes import find_mix

MIXES = (
    "q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_0", "q4_1", "q4_k_s", "q4_k_m", "q5_0", "q5_1",
    "q5_k_s", "q5_k_m", "q6_k", "q8_0", "iq4_xs", "iq4_nl",
)  # fmt: skip

BEST = 0.9
NEARLY = 1.02
FITTED = ("q3_k_m", "q4_k_m")
"""Mixes at whose size types are chosen by measurement too; BEST is what that may lose of them."""

BARS = {"q2_k": BEST, "q3_k_m": BEST, "q4_0": BEST, "q6_k": NEARLY, "q8_0": NEARLY}
"""What the divergence may be of the peer's; 1 for all others."""

SLOWEST = 2.0
"""What the time may be of the peer's."""

N_TIMED = 3
"""Times that each file is written; the shortest counts."""


@dataclass(frozen=True, slots=True)
class Score:
    """One file. kl: mean divergence from the float model. seconds: to write it."""

    n_bytes: int
    kl: float
    perplexity: float
    perplexity_error: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """One mix, with or without importance."""

    mix: str
    guided: bool
    ours: Score
    peer: Score
    bar: float
    met: bool = field(init=False)

    def __post_init__(self) -> None:
        good = (
            self.kl_ratio <= self.bar
            and self.ours.perplexity <= self.peer.perplexity + self.peer.perplexity_error
            and self.ours.n_bytes <= self.peer.n_bytes * 1.001  # keys of the two files differ
        )
        object.__setattr__(self, "met", good)

    @property
    def kl_ratio(self) -> float:
        """Ours over the peer's."""
        return self.ours.kl / self.peer.kl

    @property
    def time_ratio(self) -> float:
        """Ours over the peer's."""
        return self.ours.seconds / self.peer.seconds


@dataclass(frozen=True, slots=True)
class Fit:
    """A fixed mix, and types chosen by measurement for a file of its size; both ours."""

    mix: str
    guided: bool
    fixed: Score
    chosen: Score
    met: bool = field(init=False)

    def __post_init__(self) -> None:
        good = self.kl_ratio <= BEST and self.chosen.n_bytes <= self.fixed.n_bytes
        object.__setattr__(self, "met", good)

    @property
    def kl_ratio(self) -> float:
        """Chosen over fixed."""
        return self.chosen.kl / self.fixed.kl


class Judge:
    """Scores files by their divergence from the float model on a text."""

    def __init__(self, model: Path, text: str, n_windows: int | None) -> None:
        """Runs the float model."""
        with load_model(model) as base:
            ids = encode_text(base.tokenizer, text)
            self.windows: Windows = cut_windows(base.tokenizer, ids, WindowConfig(limit=n_windows))
            self.base = Baseline(base, self.windows)

    def score(self, file: Path, seconds: float) -> Score:
        """Runs a file over the same text."""
        with load_model(file) as model:
            found: Divergence = compare(model, self.windows, self.base)
        perplexity = found.perplexity.perplexity
        return Score(
            file.stat().st_size, found.kl.value, perplexity.value, perplexity.error, seconds
        )


def shortest(write: Callable[[], object]) -> float:
    """Seconds of the fastest of N_TIMED runs."""
    found = []
    for _ in range(N_TIMED):
        started = perf_counter()
        write()
        found.append(perf_counter() - started)
    return min(found)


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that a mix is measured with."""

    model: Path
    calibration: str
    judge: Judge
    peer: PeerQuantizer
    folder: Path
    n_threads: int

    def measure(self, mix: str, matrix: ImportanceMatrix | None) -> Row:
        """Both files of one mix."""
        ours, theirs = self.folder / "ours.gguf", self.folder / "peer.gguf"
        file_type, n_threads = find_mix(mix).file_type, self.n_threads
        our_s = shortest(
            lambda: quantize_file(self.model, ours, mix, importance=matrix, n_threads=n_threads)
        )
        peer_s = shortest(
            lambda: self.peer.quantize(
                self.model, theirs, file_type, importance=matrix, n_threads=n_threads
            )
        )
        scores = self.judge.score(ours, our_s), self.judge.score(theirs, peer_s)
        return Row(find_mix(mix).name, matrix is not None, *scores, BARS.get(mix, 1.0))

    def fit(self, row: Row, matrix: ImportanceMatrix | None) -> Fit:
        """Types chosen on the calibration text for the size of our file of a mix."""
        path, n_threads = self.folder / "chosen.gguf", self.n_threads
        started = perf_counter()
        target = SizeTarget(n_bytes=row.ours.n_bytes)
        chosen = choose_types(
            self.model, target, self.calibration, importance=matrix, n_threads=n_threads
        )
        quantize_file(self.model, path, chosen.types, importance=matrix, n_threads=n_threads)
        score = self.judge.score(path, perf_counter() - started)
        return Fit(row.mix, row.guided, row.ours, score)


def show_fit(fit: Fit) -> None:
    """One line beneath that of the mix."""
    chosen = fit.chosen
    print(
        f"  chosen for that size: {chosen.n_bytes:,} bytes, KL {chosen.kl:.5f}, "
        f"{fit.kl_ratio:.3f} of the mix's (bar {BEST}), perplexity {chosen.perplexity:.3f}, "
        f"{chosen.seconds:.0f} s, {'met' if fit.met else 'NOT met'}",
        flush=True,
    )


def show(row: Row) -> None:
    """One line of the table."""
    ours, peer = row.ours, row.peer
    print(
        f"{row.mix:7} {'yes' if row.guided else 'no':10} {ours.n_bytes:>11,} {ours.kl:9.5f} "
        f"{peer.kl:9.5f} {row.kl_ratio:6.3f} {row.bar:5.2f} {ours.perplexity:9.3f} "
        f"{peer.perplexity:9.3f} {row.time_ratio:6.2f} {'yes' if row.met else 'NO'}",
        flush=True,
    )


def save(
    rows: list[Row], fits: list[Fit], given: argparse.Namespace, judge: Judge, peer: str
) -> None:
    """Table and picture."""
    base = judge.base.perplexity.perplexity
    words = " ".join(map(_named, sys.argv[1:]))
    found = {
        "command": f"python benchmarks/{Path(sys.argv[0]).name} {words}",
        "date": date.today().isoformat(),
        "processor": processor_name(),
        "llama_cpp_python": peer,
        "windows": len(judge.windows),
        "scored_tokens": judge.windows.n_tokens,
        "perplexity": base.value,
        "perplexity_error": base.error,
        "rows": [{**asdict(r), "kl_ratio": r.kl_ratio, "time_ratio": r.time_ratio} for r in rows],
        "chosen": [{**asdict(fit), "kl_ratio": fit.kl_ratio} for fit in fits],
    }
    given.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1) + "\n"
    (given.out / "quality.json").write_text(text, encoding="utf-8")
    quality_chart.draw(rows, f"{given.model.stem}", given.out / "quality.svg")


def _named(argument: str) -> str:
    """An argument without the folders of this machine."""
    return Path(argument).name if "/" in argument else argument


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("model", type=Path, help="a GGUF file in F32, F16 or BF16")
    parser.add_argument("--text", type=Path, required=True, help="to compare the files on")
    parser.add_argument("--calibration", type=Path, required=True, help="for the importance matrix")
    parser.add_argument("--mixes", default=",".join(MIXES), metavar="A,B")
    parser.add_argument("--windows", type=int, help="of the text, at most; default: all")
    parser.add_argument("--calibration-windows", type=int, default=100, metavar="N")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results"))
    return parser.parse_args()


def main() -> int:
    """Every mix, with and without importance. Returns: 1 if a bar is missed."""
    given = arguments()
    peer = PeerQuantizer()
    calibration = given.calibration.read_text(encoding="utf-8")
    matrix = collect_importance(
        given.model, calibration, n_windows=given.calibration_windows, n_threads=given.threads
    )
    judge = Judge(given.model, given.text.read_text(encoding="utf-8"), given.windows)
    print(
        "mix     importance       bytes   KL ours   KL peer  ratio   bar  ppl ours  ppl peer   "
        "time met"
    )
    rows: list[Row] = []
    fits: list[Fit] = []
    with ExitStack() as stack:
        stack.callback(judge.base.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = Bench(given.model, calibration, judge, peer, folder, given.threads)
        for mix in given.mixes.split(","):
            for known in (None, matrix):
                rows.append(bench.measure(mix, known))
                show(rows[-1])
                if mix in FITTED:
                    fits.append(bench.fit(rows[-1], known))
                    show_fit(fits[-1])
        save(rows, fits, given, judge, peer.version)
    slow = [f"{r.mix} {r.time_ratio:.2f}" for r in rows if r.time_ratio > SLOWEST]
    judged: list[Row | Fit] = [*rows, *fits]
    missed = [f"{r.mix} {r.kl_ratio:.3f}" for r in judged if not r.met]
    print(f"missed: {', '.join(missed) or 'none'}")
    print(f"slower than {SLOWEST:g} x: {', '.join(slow) or 'none'}")
    return 1 if missed or slow else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PyllamaRtError as error:
        sys.exit(f"error: {error}")
