"""Which level of a QualityReport to take: a plain rule over measured figures.

Perplexity alone would be fooled: on a short text, or on one that is unlike what the model learnt, a
damaged file may predict it better by luck. The mean divergence is not: it asks the base and not the
text, and is 0 only for what predicts the same. Were the text drawn from the base itself, the mean
of log(perplexity ratio) would be that divergence, so that its exponential reads as a ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyllama_rt.evaluate.quality import QualityReport, QualityRow

INVISIBLE, SMALL, LARGE = 0.005, 0.02, 0.1
"""Limits of the loss."""

ENOUGH_TOKENS = 2000
"""Scored tokens from which on the figures can be relied on."""

_SIGMAS = 2
"""Standard errors that a figure may be off."""

_MAX_NATS = 700.0
"""Whose exponential is still a double."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What follows from a report.

    best: the smallest file of at most SMALL loss. nearest: the smallest of at most INVISIBLE. None
    where there is none. damaged: levels of more than LARGE loss. is_short: whether fewer than
    ENOUGH_TOKENS were scored. is_foreign: whether a file that lost much predicts the text better
    than the base, so that the text cannot be one that the model knows.
    """

    best: QualityRow | None
    nearest: QualityRow | None
    damaged: tuple[QualityRow, ...]
    is_short: bool
    is_foreign: bool


def loss(row: QualityRow) -> float:
    """The share by which a file's perplexity is taken to be above the base's.

    From the upper end of the mean divergence; or from perplexity, where that is above it by more
    than its noise.
    """
    by_kl = math.exp(min(row.kl.value + _SIGMAS * row.kl.error, _MAX_NATS))
    return max(by_kl, row.ratio.value - _SIGMAS * row.ratio.error) - 1


def recommend(report: QualityReport) -> Recommendation:
    """The rule; docs/quality.md gives its reasons."""
    return Recommendation(
        best=_smallest(report, SMALL),
        nearest=_smallest(report, INVISIBLE),
        damaged=tuple(row for row in report.rows if loss(row) > LARGE),
        is_short=report.windows.n_tokens < ENOUGH_TOKENS,
        is_foreign=any(
            row.ratio.value + _SIGMAS * row.ratio.error < 1 and loss(row) > SMALL
            for row in report.rows
        ),
    )


def _smallest(report: QualityReport, limit: float) -> QualityRow | None:
    return next((row for row in report.rows if loss(row) <= limit), None)
