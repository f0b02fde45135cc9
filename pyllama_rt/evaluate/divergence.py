"""How far a model's predictions are from those of a base, such as the same one before quantising.

With p what the base and q what the model holds probable, the Kullback-Leibler divergence of a row
is the sum of p · log(p/q), in nats: 0 where both say the same, and more the more q misses of p.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pyllama_rt.engine.load import Model
from pyllama_rt.errors import ConfigError
from pyllama_rt.evaluate.estimate import Estimate, exp_mean, mean, percentile, perplexity_of
from pyllama_rt.evaluate.perplexity import Losses, Perplexity, Progress
from pyllama_rt.evaluate.scored_rows import Floats, Ints, ScoredRows, scored_windows
from pyllama_rt.evaluate.windows import Windows

KL_PERCENTILES = (50, 90, 95, 99, 100)
DELTA_P_PERCENTILES = (1, 5, 95, 99)


@dataclass(frozen=True, slots=True)
class BaseRows:
    """What a base says about some rows.

    probabilities: (n, n_vocab). self_terms: (n,), the sums of p · log p over them. losses: (n,),
    of the ids that came. best: (n,), the likeliest ids.
    """

    probabilities: npt.NDArray[np.float32] | Floats
    self_terms: Floats
    losses: Floats
    best: Ints


class Base(Protocol):
    """What a base said about the scored rows of windows."""

    @property
    def n_vocab(self) -> int:
        """Probabilities in a row."""

    @property
    def n_rows(self) -> int:
        """Rows, of all windows together."""

    def rows(self, first: int, targets: Ints) -> BaseRows:
        """The rows from number `first` on, one for each of the ids that came."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """How a model compares with a base on the same windows.

    perplexity: the model's own. base_perplexity: the base's. ratio: the first over the second. kl:
    mean divergence of a token, nats. kl_percentiles: by percent, 50 is the median and 100 the
    largest. same_top: share of tokens where both hold the same id the likeliest. delta_p: mean
    change of the probability of the id that came (1 is certainty); delta_p_rms: root of its mean
    square; delta_p_percentiles: by percent.
    """

    perplexity: Perplexity
    base_perplexity: Estimate
    ratio: Estimate
    kl: Estimate
    kl_percentiles: dict[int, float]
    same_top: Estimate
    delta_p: Estimate
    delta_p_rms: float
    delta_p_percentiles: dict[int, float]


class DivergenceSums:
    """Collects what a Divergence is made of, 25 bytes a row."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._kl: list[Floats] = []
        self._same_top: list[npt.NDArray[np.bool_]] = []
        self._base_losses = Losses()
        self.losses = Losses()

    def add(self, rows: ScoredRows) -> None:
        """The next rows of the windows that the base was made of."""
        base = self._base.rows(self.losses.n_tokens, rows.targets)
        p = base.probabilities.astype(np.float64, copy=False)
        cross = np.einsum("ij,ij->i", p, rows.logits) - rows.log_sums * p.sum(axis=1)
        self._kl.append(base.self_terms - cross)
        self._same_top.append(rows.logits.argmax(axis=1) == base.best)
        self._base_losses.add(base.losses)
        self.losses.add(rows.losses)

    def result(self, n_windows: int, seconds: float) -> Divergence:
        """Of all rows. Raises: NumericsError if a perplexity is no finite number."""
        losses, base_losses = self.losses.all(), self._base_losses.all()
        kl, same_top = np.concatenate(self._kl), np.concatenate(self._same_top)
        delta_p = np.exp(-losses) - np.exp(-base_losses)
        log_ratio = mean(losses - base_losses)
        ratio = perplexity_of(log_ratio.value)
        return Divergence(
            perplexity=Perplexity(exp_mean(losses), len(losses), n_windows, seconds),
            base_perplexity=exp_mean(base_losses),
            ratio=Estimate(ratio, ratio * log_ratio.error),
            kl=mean(kl),
            kl_percentiles={n: percentile(kl, n) for n in KL_PERCENTILES},
            same_top=mean(same_top.astype(np.float64)),
            delta_p=mean(delta_p),
            delta_p_rms=float(np.sqrt((delta_p**2).mean())),
            delta_p_percentiles={n: percentile(delta_p, n) for n in DELTA_P_PERCENTILES},
        )


def compare(
    model: Model,
    windows: Windows,
    base: Base,
    *,
    progress: Progress = lambda *_: None,
) -> Divergence:
    """How a model compares with a base that was made of the same windows, or of more after them.

    Raises: as `measure_perplexity`; ConfigError if the base is one of another vocabulary or has
        too few rows; FormatError if it is a damaged file.
    """
    started = perf_counter()
    check_vocabulary(model, base)
    if base.n_rows < windows.n_tokens:
        raise ConfigError(
            f"the base has {base.n_rows} scored tokens; expected at least {windows.n_tokens}; make "
            "it of the same windows"
        )
    sums = DivergenceSums(base)
    for n_done, blocks in enumerate(scored_windows(model, windows), 1):
        for rows in blocks:
            sums.add(rows)
        progress(n_done, len(windows), sums.losses.perplexity)
    return sums.result(len(windows), perf_counter() - started)


def check_vocabulary(model: Model, base: Base) -> None:
    """Raises ConfigError unless the base has as many pieces as the model."""
    if base.n_vocab != model.n_vocab:
        raise ConfigError(
            f"{model.path}: the model has {model.n_vocab} pieces, the base to compare it with "
            f"{base.n_vocab}; expected a base of the same vocabulary"
        )
