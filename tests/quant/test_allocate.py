"""Choices within a budget, beside trying every one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pyllama_rt.errors import ConfigError
from pyllama_rt.quant.allocate import Option, allocate

Tensors = list[list[Option]]


def random_tensors(seed: int, n_tensors: int, n_options: int) -> Tensors:
    """Options as those of weights are: the loss falls by about 4 for each bit more."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_tensors):
        n_weights, sensitivity = int(rng.integers(1, 20)) * 256, float(np.exp(rng.normal(0, 2)))
        bits = np.sort(rng.uniform(2, 9, n_options))
        losses = sensitivity * 4.0**-bits * np.exp(rng.normal(0, 0.2, n_options))
        found.append(
            [
                Option(f"t{i}", int(n_weights * bit / 8), float(loss))
                for i, (bit, loss) in enumerate(zip(bits, losses, strict=True))
            ]
        )
    return found


def total(chosen: tuple[Option, ...] | list[Option]) -> tuple[int, float]:
    return sum(o.n_bytes for o in chosen), sum(o.loss for o in chosen)


def best_of_all(tensors: Tensors, budget: int) -> float:
    return min(loss for n_bytes, loss in map(total, product(*tensors)) if n_bytes <= budget)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6, 0.9])
def test_none_is_better_of_all_that_there_are(share: float) -> None:
    for seed in range(30):
        tensors = random_tensors(seed, 6, 4)
        least, most = (sum(f(o.n_bytes for o in t) for t in tensors) for f in (min, max))
        budget = int(least + share * (most - least))
        n_bytes, loss = total(allocate(tensors, budget))
        assert n_bytes <= budget
        assert loss == pytest.approx(best_of_all(tensors, budget), rel=1e-9)


def test_following_few_combinations_still_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyllama_rt.quant.allocate.MAX_STATES", 2)
    tensors = random_tensors(3, 40, 5)
    budget = sum(t[2].n_bytes for t in tensors)
    few = total(allocate(tensors, budget))
    monkeypatch.undo()
    assert few[0] <= budget
    assert few[1] <= 1.05 * total(allocate(tensors, budget))[1]


def test_many_tensors_come_close_to_the_bound() -> None:
    tensors = random_tensors(1, 300, 7)
    budget = sum(t[3].n_bytes for t in tensors)
    n_bytes, loss = total(allocate(tensors, budget))
    assert n_bytes <= budget
    # At any price: what the choices would lose if bytes could be bought and sold.
    bound = max(
        sum(min(o.loss + price * o.n_bytes for o in t) for t in tensors) - price * budget
        for price in np.geomspace(1e-9, 1, 1000)
    )
    assert bound <= loss < 1.001 * bound


def test_a_large_budget_takes_what_loses_least() -> None:
    tensors = [[Option("a", 10, 1.0), Option("b", 20, 0.5), Option("c", 30, 0.5)]] * 3
    assert [o.type for o in allocate(tensors, 10**9)] == ["b"] * 3


def test_the_smallest_budget_takes_the_smallest() -> None:
    tensors = random_tensors(2, 5, 4)
    least = sum(t[0].n_bytes for t in tensors)
    assert allocate(tensors, least) == [t[0] for t in tensors]
    with pytest.raises(ConfigError, match=f"room for {least} bytes.* found {least - 1}"):
        allocate(tensors, least - 1)


def test_what_fits_alone_gives_way_to_what_saves_more() -> None:
    tensors = [
        [Option("small", 0, 10.0), Option("large", 6, 3.9)],
        [Option("small", 0, 10.0), Option("large", 10, 0.0)],
    ]
    assert [o.type for o in allocate(tensors, 10)] == ["small", "large"]


def test_what_loses_nothing_stays_smallest() -> None:
    tensors = [[Option("a", 10, 0.0), Option("b", 20, 0.0)], [Option("a", 10, 0.0)]]
    assert [o.n_bytes for o in allocate(tensors, 20)] == [10, 10]
