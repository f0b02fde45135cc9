"""What every level of quantising makes of a model: size, predictions, speed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from pyllama_rt.config import LoadConfig
from pyllama_rt.convert import plan_file, quantize_file
from pyllama_rt.engine.bench import GENERATE, PROMPT, measure_rates
from pyllama_rt.engine.load import Model, load_model
from pyllama_rt.errors import ConfigError, ResourceError
from pyllama_rt.evaluate.baseline import Baseline, baseline_bytes
from pyllama_rt.evaluate.divergence import compare
from pyllama_rt.evaluate.estimate import Estimate, mean
from pyllama_rt.evaluate.windows import WindowConfig, Windows, cut_windows, encode_text
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.quant.importance import ImportanceMatrix
from pyllama_rt.quant.mixes import Mix, find_mix
from pyllama_rt.quant.plan import Plan

DEFAULT_LEVELS = ("q2_k", "q3_k_m", "q4_0", "q4_k_m", "q5_k_m", "q6_k", "q8_0")

PROMPT_TOKENS, GENERATED_TOKENS, REPETITIONS = 512, 64, 3
"""Of the runs that are timed; a prompt is no longer than a window."""


@dataclass(frozen=True, slots=True)
class QualityConfig:
    """What to measure.

    levels: types or mixes, as q8_0 or q4_k_m, in any letter case. windows: how the text is cut.
    speed: whether to time prompts and generation. n_threads: None for the physical cores.
    allow_requantize: take a model that is quantised already. importance: to quantise with.
    """

    levels: tuple[str, ...] = DEFAULT_LEVELS
    windows: WindowConfig = field(default_factory=WindowConfig)
    speed: bool = True
    n_threads: int | None = None
    allow_requantize: bool = False
    importance: ImportanceMatrix | None = None

    def __post_init__(self) -> None:
        if not self.mixes:
            raise ConfigError("levels: expected at least one type, found none")
        self.load_config()

    @property
    def mixes(self) -> tuple[Mix, ...]:
        """The levels, each once. Raises: ConfigError for an unknown one."""
        return tuple({mix.name: mix for mix in map(find_mix, self.levels)}.values())

    def load_config(self) -> LoadConfig:
        """How models are loaded. Raises: ConfigError for impossible values."""
        return LoadConfig(n_ctx=self.windows.n_ctx, n_threads=self.n_threads)


@dataclass(frozen=True, slots=True)
class QualityRow:
    """One file.

    level: its mix; of the base, the type of most weights. n_bytes: of the file. bits_per_weight:
    mean over its tensors. ratio: its perplexity over the base's. kl: mean divergence from the base,
    nats a token. kl_99: what 99 % of the tokens stay below. same_top: share of tokens where both
    hold the same id the likeliest. prompt, generate: tokens per second, None if not timed.
    """

    level: str
    n_bytes: int
    bits_per_weight: float
    perplexity: Estimate
    ratio: Estimate
    kl: Estimate
    kl_99: float
    same_top: Estimate
    prompt: Estimate | None
    generate: Estimate | None


@dataclass(frozen=True, slots=True)
class QualityReport:
    """base: the file itself. rows: what was made of it, the smallest first. windows: of the text.

    n_threads: that ran them.
    """

    base: QualityRow
    rows: tuple[QualityRow, ...]
    windows: Windows
    n_threads: int


@dataclass(frozen=True, slots=True)
class Step:
    """Where a run is.

    level: the n-th of n_levels, the base among them. stage: what is done with it. n_done of n_all
    parts of the stage are done. perplexity: up to here, while it is scored.
    """

    level: str
    n: int
    n_levels: int
    stage: str
    n_done: int
    n_all: int
    perplexity: float | None = None


Progress = Callable[[Step], None]


def measure_quality(
    source: str | os.PathLike[str],
    text: str,
    config: QualityConfig | None = None,
    progress: Progress = lambda _: None,
) -> QualityReport:
    """Quantises a model to each level in turn and compares it with what it was.

    In the temporary folder lie the base's predictions and one file at a time; in the end, however
    it comes, both are removed.

    Args: source: A GGUF file in F32, F16 or BF16, or any file of a split model.
    Raises: ConfigError for a model that is quantised or gives vectors, or a text shorter than a
        window; ResourceError if memory or disk is short; NumericsError for damaged weights; what
        `load_model` and `quantize_file` raise.
    """
    config = config or QualityConfig()
    origin = _Source.open(Path(source))
    plans = [
        plan_file(
            source,
            mix.name,
            allow_requantize=config.allow_requantize,
            has_importance=config.importance is not None,
        )
        for mix in config.mixes
    ]
    with ExitStack() as stack:
        stages = _Stages(progress, origin.level, 1, 1 + len(plans))
        with load_model(source, config.load_config()) as model:
            ids = encode_text(model.tokenizer, text)
            windows = cut_windows(model.tokenizer, ids, config.windows)
            _check_room(baseline_bytes(windows, model.n_vocab), origin, plans)
            base = stack.enter_context(Baseline(model, windows, progress=stages.scoring))
            comparison = _Comparison(origin, config, windows, base)
            base_row = comparison.base_row(model, stages)
            n_threads = model.threads.batch
        rows = []
        for n, plan in enumerate(plans, 2):
            stages = _Stages(progress, plan.mix.name, n, 1 + len(plans))
            rows.append(comparison.level_row(plan, stages))
    rows.sort(key=lambda row: row.n_bytes)
    return QualityReport(base_row, tuple(rows), windows, n_threads)


@dataclass(frozen=True, slots=True)
class _Source:
    """The model to quantise. n_bytes: of its files. tensor_bytes, n_elements: of its tensors."""

    path: Path
    level: str
    n_bytes: int
    tensor_bytes: int
    n_elements: int

    @classmethod
    def open(cls, path: Path) -> _Source:
        """Reads the directory of the file."""
        with GgufFile.open(path) as file:
            counts: Counter[str] = Counter()
            for info in file.tensors.values():
                counts[info.type.name] += prod(info.shape)
            return cls(
                path=path,
                level=counts.most_common(1)[0][0] if counts else "",
                n_bytes=sum(part.stat().st_size for part in file.paths),
                tensor_bytes=sum(info.n_bytes for info in file.tensors.values()),
                n_elements=counts.total(),
            )


class _Stages:
    """What the parts of the work on one level report to."""

    def __init__(self, progress: Progress, level: str, n: int, n_levels: int) -> None:
        self._progress = progress
        self._at = (level, n, n_levels)

    def quantising(self, _tensor: str, n_done: int, n_all: int) -> None:
        self._progress(Step(*self._at, "quantising", n_done, n_all))

    def scoring(self, n_done: int, n_all: int, perplexity: float) -> None:
        self._progress(Step(*self._at, "scoring", n_done, n_all, perplexity))

    def timing(self, _label: str, n_done: int, n_all: int) -> None:
        self._progress(Step(*self._at, "timing", n_done, n_all))


def _check_room(base_bytes: int, source: _Source, plans: list[Plan]) -> None:
    """Raises ResourceError if the temporary folder will not take what is to lie there."""
    header = source.n_bytes - source.tensor_bytes
    largest = max(plan.n_bytes for plan in plans) + header
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < base_bytes + largest:
        gib = 1 << 30
        raise ResourceError(
            f"{folder}: expected {(base_bytes + largest) / gib:.2f} GiB of room "
            f"({base_bytes / gib:.2f} for the predictions of {source.path.name}, "
            f"{largest / gib:.2f} for the largest level), found {free / gib:.2f} GiB; take fewer "
            "windows or levels, or let TMPDIR name a folder with more room"
        )


@dataclass(frozen=True, slots=True)
class _Comparison:
    """What every file is measured with."""

    source: _Source
    config: QualityConfig
    windows: Windows
    base: Baseline

    def base_row(self, model: Model, stages: _Stages) -> QualityRow:
        """Of the model itself, which differs in nothing from itself."""
        prompt, generate = self._speeds(model, stages)
        return QualityRow(
            level=self.source.level,
            n_bytes=self.source.n_bytes,
            bits_per_weight=8 * self.source.tensor_bytes / self.source.n_elements,
            perplexity=self.base.perplexity.perplexity,
            ratio=Estimate(1, 0),
            kl=Estimate(0, 0),
            kl_99=0,
            same_top=Estimate(1, 0),
            prompt=prompt,
            generate=generate,
        )

    def level_row(self, plan: Plan, stages: _Stages) -> QualityRow:
        """Of a file that is there only meanwhile."""
        level, config = plan.mix.name, self.config
        with tempfile.TemporaryDirectory(prefix="pyllama-rt-") as folder:
            path = Path(folder, f"{level}.gguf")
            quantize_file(
                self.source.path,
                path,
                level,
                allow_requantize=config.allow_requantize,
                importance=config.importance,
                n_threads=config.n_threads,
                progress=stages.quantising,
            )
            with load_model(path, config.load_config()) as model:
                found = compare(model, self.windows, self.base, progress=stages.scoring)
                prompt, generate = self._speeds(model, stages)
            return QualityRow(
                level=level,
                n_bytes=path.stat().st_size,
                bits_per_weight=plan.bits_per_weight,
                perplexity=found.perplexity.perplexity,
                ratio=found.ratio,
                kl=found.kl,
                kl_99=found.kl_percentiles[99],
                same_top=found.same_top,
                prompt=prompt,
                generate=generate,
            )

    def _speeds(self, model: Model, stages: _Stages) -> tuple[Estimate | None, Estimate | None]:
        """Tokens per second of prompts and of generation."""
        if not self.config.speed:
            return None, None
        prompt, generate = (
            measure_rates(
                model, kind, min(n_tokens, self.windows.n_ctx), REPETITIONS, stages.timing
            )
            for kind, n_tokens in ((PROMPT, PROMPT_TOKENS), (GENERATE, GENERATED_TOKENS))
        )
        return mean(np.array(prompt)), mean(np.array(generate))
