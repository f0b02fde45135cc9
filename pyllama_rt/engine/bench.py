"""How fast a model runs on this machine, and how fast the machine would let it run."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from pyllama_rt import _core, env
from pyllama_rt.config import MAX_THREADS, LoadConfig, check_int
from pyllama_rt.engine.load import Model, load_model, trained_context
from pyllama_rt.engine.memory import available_bytes
from pyllama_rt.engine.session import Session
from pyllama_rt.engine.token_work import TokenWork, token_work
from pyllama_rt.errors import ConfigError, ContextError

ROOFLINE_SECONDS = 0.5
"""How long each bound is measured, before the model runs and again after it."""

Progress = Callable[[str, int, int], None]
"""Takes what is being measured, the steps done and the number of steps."""

PROMPT, GENERATE = "prompt", "generate"


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What to measure. Every number of threads is measured at every depth.

    prompt, generate: tokens of a run, 0 to leave that kind out. depths: tokens already in the
    cache. threads: () for the physical cores. repetitions: measured runs of each.
    """

    prompt: int = 512
    generate: int = 128
    threads: tuple[int, ...] = ()
    depths: tuple[int, ...] = (0,)
    repetitions: int = 5
    n_batch: int = 512
    kv_type: str = "f16"

    def __post_init__(self) -> None:
        check_int("prompt", self.prompt, 0, 1 << 30)
        check_int("generate", self.generate, 0, 1 << 30)
        for n in self.threads:
            check_int("threads", n, 1, MAX_THREADS)
        for n in self.depths:
            check_int("depths", n, 0, 1 << 30)
        check_int("repetitions", self.repetitions, 1, 1000)
        if not self.depths:
            raise ConfigError("depths: expected at least one number, found none")
        if self.prompt == self.generate == 0:
            raise ConfigError("prompt: expected a number above 0 where generate is 0, found 0")
        self.load_config(1)

    @property
    def n_ctx(self) -> int:
        """Cells that the longest run takes."""
        return max(self.depths) + max(self.prompt, self.generate)

    def load_config(self, n_threads: int) -> LoadConfig:
        """How the model is loaded. Raises: ConfigError for impossible values."""
        return LoadConfig(
            n_ctx=self.n_ctx, n_threads=n_threads, n_batch=self.n_batch, kv_type=self.kv_type
        )


@dataclass(frozen=True, slots=True)
class Roofline:
    """What the machine can do with some threads. read_bandwidth: None where memory is short.

    int8_peak: multiply-accumulates a second in registers. read_bandwidth: bytes a second.
    """

    int8_peak: float
    read_bandwidth: float | None


@dataclass(frozen=True, slots=True)
class Speed:
    """The measured runs of one kind ("prompt" or "generate"), tokens per second each."""

    kind: str
    n_tokens: int
    depth: int
    n_threads: int
    rates: tuple[float, ...]
    work: TokenWork
    roofline: Roofline

    @property
    def mean(self) -> float:
        """Tokens per second."""
        return statistics.fmean(self.rates)

    @property
    def spread(self) -> float:
        """Standard deviation of the runs; 0 for a single one."""
        return statistics.stdev(self.rates) if len(self.rates) > 1 else 0.0

    @property
    def macs_per_second(self) -> float | None:
        """Multiply-accumulates of the matrix products of a prompt."""
        if self.kind != PROMPT:
            return None
        return self.mean * self.work.prompt_macs(self.n_tokens) / self.n_tokens

    @property
    def bytes_per_second(self) -> float | None:
        """Weights and cache read for generated tokens."""
        if self.kind != GENERATE:
            return None
        return self.mean * self.work.generation_bytes(self.depth, self.n_tokens)

    @property
    def fraction(self) -> float | None:
        """Share of what the machine allows; None where there is no such bound for the weights."""
        if self.macs_per_second is not None:
            return (
                self.macs_per_second / self.roofline.int8_peak if self.work.is_quantized else None
            )
        bound = self.roofline.read_bandwidth
        return self.bytes_per_second / bound if self.bytes_per_second and bound else None


def bench_model(
    path: str | os.PathLike[str], config: BenchConfig, progress: Progress = lambda *_: None
) -> list[Speed]:
    """Measures the model and, before and after it, the machine.

    Raises: ContextError if the model was trained on fewer positions than a run takes; and what
        `load_model` raises.
    """
    trained = trained_context(path)
    if config.n_ctx > trained:
        raise ContextError(
            f"{path}: depth {max(config.depths)} and {max(config.prompt, config.generate)} tokens "
            f"do not fit the context of {trained} that the model was trained on; lower the depth "
            "or the number of tokens"
        )
    threads = config.threads or (_core.default_threads(),)
    steps = _Steps(progress, len(threads) * (2 + len(config.depths) * _steps_per_depth(config)))
    speeds: list[Speed] = []
    for n_threads in threads:
        speeds += _bench_threads(path, config, n_threads, steps)
    return speeds


def measure_rates(
    model: Model, kind: str, n_tokens: int, repetitions: int, progress: Progress = lambda *_: None
) -> tuple[float, ...]:
    """Tokens per second of runs from an empty cache, after one that does not count.

    Args: kind: PROMPT or GENERATE. n_tokens: of a run, at most the model's context.
    """
    ids = np.random.default_rng(0).integers(0, model.n_vocab, n_tokens).tolist()
    with Session(model) as session:
        return _Run(session, ids, kind).repeat(repetitions, _Steps(progress, 1 + repetitions), kind)


def measure_roofline(n_threads: int) -> Roofline:
    """The bounds of this machine for the instruction set in use."""
    peak = _core.measure_int8_peak(env.forced_isa() or "", n_threads, ROOFLINE_SECONDS)
    free = available_bytes()
    if free is not None and free < 2 * _core.BANDWIDTH_BYTES:
        return Roofline(peak, None)
    return Roofline(peak, _core.measure_read_bandwidth(n_threads, ROOFLINE_SECONDS))


class _Steps:
    """Counts what is done and says what comes next."""

    def __init__(self, progress: Progress, n_steps: int) -> None:
        self._progress = progress
        self._n_steps = n_steps
        self._n_begun = 0

    def begin(self, label: str) -> None:
        self._progress(label, self._n_begun, self._n_steps)
        self._n_begun += 1


def _steps_per_depth(config: BenchConfig) -> int:
    kinds = (config.prompt > 0) + (config.generate > 0)
    return 1 + kinds * (1 + config.repetitions)


def _bench_threads(
    path: str | os.PathLike[str], config: BenchConfig, n_threads: int, steps: _Steps
) -> Iterator[Speed]:
    """Everything with one number of threads."""
    label = f"{n_threads} threads" if n_threads > 1 else "1 thread"
    steps.begin(f"{label}: the machine")
    before = measure_roofline(n_threads)
    found = []
    with load_model(path, config.load_config(n_threads)) as model, Session(model) as session:
        work = token_work(model)
        ids = np.random.default_rng(0).integers(0, model.n_vocab, config.n_ctx).tolist()
        for depth in config.depths:
            steps.begin(f"{label}, depth {depth}: filling the cache")
            session.truncate(0)
            if depth:
                session.eval(ids[:depth])
            for kind, n in ((PROMPT, config.prompt), (GENERATE, config.generate)):
                if n:
                    run = _Run(session, ids[depth : depth + n], kind)
                    rates = run.repeat(config.repetitions, steps, f"{label}, depth {depth}: {kind}")
                    found.append((kind, n, depth, rates))
    steps.begin(f"{label}: the machine")
    roofline = _mean(before, measure_roofline(n_threads))
    for kind, n, depth, rates in found:
        yield Speed(kind, n, depth, n_threads, rates, work, roofline)


@dataclass(frozen=True, slots=True)
class _Run:
    """Tokens that follow what a session holds, all at once or one at a time."""

    session: Session
    ids: list[int]
    kind: str

    def repeat(self, repetitions: int, steps: _Steps, label: str) -> tuple[float, ...]:
        """Tokens per second of each repetition, after one run that does not count."""
        steps.begin(f"{label}, warm-up")
        self._seconds()
        rates = []
        for i in range(repetitions):
            steps.begin(f"{label}, {i + 1} of {repetitions}")
            rates.append(len(self.ids) / self._seconds())
        return tuple(rates)

    def _seconds(self) -> float:
        depth = len(self.session.tokens)
        started = perf_counter()
        if self.kind == PROMPT:
            self.session.eval(self.ids)
        else:
            for token in self.ids:
                self.session.eval([token])
        seconds = perf_counter() - started
        self.session.truncate(depth)
        return seconds


def _mean(a: Roofline, b: Roofline) -> Roofline:
    bandwidths = [r.read_bandwidth for r in (a, b) if r.read_bandwidth is not None]
    return Roofline(
        (a.int8_peak + b.int8_peak) / 2, statistics.fmean(bandwidths) if bandwidths else None
    )
