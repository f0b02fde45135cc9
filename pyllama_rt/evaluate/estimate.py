"""Means and how far they may be off."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pyllama_rt.errors import NumericsError
from pyllama_rt.evaluate.scored_rows import Floats

_MAX_LOSS = 700.0
"""Nats a token; what is beyond has no exponential in a double."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its standard error, 0 for that of a single token."""

    value: float
    error: float


def mean(values: Floats) -> Estimate:
    """The mean of at least one value."""
    n = len(values)
    error = float(values.std()) / math.sqrt(n - 1) if n > 1 else 0.0
    return Estimate(float(values.mean()), error)


def exp_mean(values: Floats) -> Estimate:
    """The exponential of the mean. Raises: NumericsError as `perplexity_of`."""
    inner = mean(values)
    value = perplexity_of(inner.value)
    return Estimate(value, value * inner.error)


def perplexity_of(loss: float) -> float:
    """exp(loss). Raises: NumericsError if that is no finite number."""
    if not abs(loss) <= _MAX_LOSS:
        raise NumericsError(
            f"the mean loss is {loss:.4g} nats a token, which is beyond any perplexity; the "
            "file's weights are damaged (see: pyllama-rt inspect --verify)"
        )
    return math.exp(loss)


def percentile(values: Floats, percent: float) -> float:
    """Interpolated between the two nearest values."""
    return float(np.percentile(values, percent))
