"""What benchmarks/quality.py makes of its measurements."""

from __future__ import annotations

import pytest
from quality import NEARLY, Fit, Row, Score


def score(kl: float = 0.01, perplexity: float = 20.0, n_bytes: int = 1000) -> Score:
    return Score(n_bytes, kl, perplexity, 0.1, 2.0)


@pytest.mark.parametrize(
    ("ours", "met"),
    [
        (score(), True),
        (score(kl=0.0102), True),
        (score(kl=0.0103), False),
        (score(perplexity=20.05), True),
        (score(perplexity=20.2), False),
        (score(n_bytes=1002), False),
    ],
)
def test_bars(ours: Score, met: bool) -> None:
    assert Row("q6_k", False, ours, score(), NEARLY).met is met


def test_ratios() -> None:
    row = Row("q4_0", True, Score(1, 0.004, 1.0, 0.1, 3.0), score(), 0.9)
    assert (row.kl_ratio, row.time_ratio) == pytest.approx((0.4, 1.5))


@pytest.mark.parametrize(
    ("chosen", "met"),
    [(score(kl=0.009), True), (score(kl=0.0091), False), (score(kl=0.005, n_bytes=1001), False)],
)
def test_chosen_types_beat_the_mix_at_its_size(chosen: Score, met: bool) -> None:
    assert Fit("q4_k_m", True, score(), chosen).met is met
