"""The rule that picks a level, over made-up reports."""

from __future__ import annotations

import math
from typing import Any

import pytest
from quality_reports import report, row

from pyllama_rt.evaluate.estimate import Estimate
from pyllama_rt.evaluate.recommend import loss, recommend


def levels(**found: Any) -> list[str | None]:
    """best and nearest of rows by name: (ratio, its error, kl, its error)."""
    rows = [
        row(name, n, ratio=Estimate(*numbers[:2]), kl=Estimate(*numbers[2:]))
        for n, (name, numbers) in enumerate(found.items(), 2)
    ]
    got = recommend(report(*rows))
    return [None if r is None else r.level for r in (got.best, got.nearest)]


def test_published_ratios_give_the_usual_choice() -> None:
    # A 7 B model: what these levels are known to lose.
    ratios = {"q2_k": 1.68, "q3_k": 1.12, "q4_k": 1.017, "q5_k": 1.0045, "q6_k": 1.0008}
    found = levels(**{k: (r, 1e-4, math.log(r), 1e-5) for k, r in ratios.items()})
    assert found == ["q4_k", "q5_k"]


def test_the_smallest_and_not_the_best_is_taken() -> None:
    assert levels(a=(1, 0, 0.03, 0), b=(1, 0, 0.019, 0), c=(1, 0, 0.018, 0)) == ["b", None]


def test_luck_with_a_text_does_not_hide_damage() -> None:
    assert levels(a=(0.97, 0.005, 0.05, 0.002), b=(1.001, 0.001, 0.01, 1e-4)) == ["b", None]


def test_the_upper_end_of_the_divergence_counts() -> None:
    assert levels(a=(1, 0, 0.019, 0.001)) == [None, None]
    assert levels(a=(1, 0, 0.019, 0.0001)) == ["a", None]


def test_perplexity_counts_beyond_its_noise() -> None:
    assert levels(a=(1.03, 0.004, 0.01, 0)) == [None, None]
    assert levels(a=(1.03, 0.006, 0.01, 0)) == ["a", None]


def test_loss() -> None:
    assert loss(row("a", 1, kl=Estimate(0.01, 0.001))) == pytest.approx(math.expm1(0.012))
    assert loss(row("a", 1, ratio=Estimate(1.5, 0.1))) == pytest.approx(0.3)
    assert loss(row("a", 1, kl=Estimate(1e6, 1e5))) > 1e300  # no overflow


def test_warnings() -> None:
    bad = row("bad", 1, ratio=Estimate(1.2, 0.01), kl=Estimate(0.2, 0.001))
    lucky = row("lucky", 2, ratio=Estimate(0.9, 0.01), kl=Estimate(0.2, 0.001))
    good = row("good", 3, ratio=Estimate(0.9999, 0.00001), kl=Estimate(0.0001, 0))
    found = recommend(report(bad, good, n_windows=8))
    assert (found.damaged, found.is_short, found.is_foreign) == ((bad,), False, False)
    found = recommend(report(bad, lucky, good, n_windows=7))
    assert (found.damaged, found.is_short, found.is_foreign) == ((bad, lucky), True, True)
