"""Perplexity: how many tokens a model wavers between, over the scored ids of windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from pyllama_rt.engine.load import Model
from pyllama_rt.evaluate.estimate import Estimate, exp_mean, perplexity_of
from pyllama_rt.evaluate.scored_rows import Floats, ScoredRows, scored_windows
from pyllama_rt.evaluate.windows import Windows

Progress = Callable[[int, int, float], None]
"""Takes the windows done, the number of windows, and the perplexity up to here."""


@dataclass(frozen=True, slots=True)
class Perplexity:
    """The exponential of the mean loss of n_tokens ids in n_windows windows."""

    perplexity: Estimate
    n_tokens: int
    n_windows: int
    seconds: float


class Losses:
    """Collects the losses of rows, 8 bytes each."""

    def __init__(self) -> None:
        self._parts: list[Floats] = []
        self._sum = 0.0
        self.n_tokens = 0

    def add(self, losses: Floats) -> None:
        """Appends (n,) losses."""
        self._parts.append(losses)
        self._sum += float(losses.sum())
        self.n_tokens += len(losses)

    def all(self) -> Floats:
        """(n_tokens,)"""
        return np.concatenate(self._parts)

    @property
    def perplexity(self) -> float:
        """Of what was added up to here. Raises: NumericsError if it is no finite number."""
        return perplexity_of(self._sum / self.n_tokens)


def measure_perplexity(
    model: Model,
    windows: Windows,
    *,
    keep: Callable[[ScoredRows], None] = lambda _: None,
    progress: Progress = lambda *_: None,
) -> Perplexity:
    """The perplexity of a model on windows.

    Args: keep: also gets every scored row, such as the `add` of a LogitsWriter.
    Raises: as `scored_windows`; NumericsError if the perplexity is no finite number.
    """
    started = perf_counter()
    losses = Losses()
    for n_done, blocks in enumerate(scored_windows(model, windows), 1):
        for rows in blocks:
            losses.add(rows.losses)
            keep(rows)
        progress(n_done, len(windows), losses.perplexity)
    found = exp_mean(losses.all())
    return Perplexity(found, losses.n_tokens, len(windows), perf_counter() - started)
