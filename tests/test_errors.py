"""Words that messages are built from."""

from __future__ import annotations

import time

from timing import untraced

from pyllama_rt.errors import did_you_mean


def test_the_closest_name_is_offered() -> None:
    assert did_you_mean("q4_m", ["q4_k", "q8_0"]) == " (did you mean 'q4_k'?)"
    assert did_you_mean("zzz", ["q4_k"]) == ""


def test_hostile_names_cost_nothing() -> None:
    untraced()
    start = time.process_time()
    names = [f"{'a' * 60}{i}" for i in range(200_000)]
    begun = time.process_time()
    did_you_mean("a" * 60, names)
    did_you_mean("a" * 100_000, names)
    did_you_mean("ab", ["a" * 1_000_000] * 4)
    assert time.process_time() - begun < 1.0 + (begun - start)
