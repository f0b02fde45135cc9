"""The sampler chain, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pyllama_rt import _core
from pyllama_rt.config import SamplingConfig
from pyllama_rt.engine.generate import make_sampler
from pyllama_rt.errors import ConfigError, NumericsError, ShapeError

LOGITS = np.array([0.0, 2.0, 1.0, 2.0, -1.0], dtype=np.float32)


def sampler(**changes: float) -> _core.Sampler:
    neutral = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 1, **changes}
    return make_sampler(SamplingConfig(**neutral))  # type: ignore[arg-type]


def shares(n: int, **changes: float) -> NDArray[np.float64]:
    chain = sampler(**changes)
    drawn = [chain.sample(LOGITS) for _ in range(n)]
    counts: NDArray[np.float64] = np.bincount(drawn, minlength=len(LOGITS)) / n
    return counts


def softmax(
    x: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    weights: NDArray[np.float64] = np.exp(x.astype(np.float64) - x.max())
    total = float(weights.sum())
    return weights / total


def test_greedy_takes_the_first_of_the_best() -> None:
    assert sampler(temperature=0.0).sample(LOGITS) == 1


def test_shares_follow_the_softmax_at_the_temperature() -> None:
    for temperature in (0.5, 1.0, 2.0):
        drawn = shares(20000, temperature=temperature)
        assert np.abs(drawn - softmax(LOGITS / np.float32(temperature))).max() < 0.015


def test_top_k_keeps_the_best_and_breaks_ties_by_id() -> None:
    assert shares(200, top_k=1)[1] == 1
    assert set(np.flatnonzero(shares(500, top_k=3))) == {1, 2, 3}


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    # Shares are .37 .37 .14 .05 .02: one token falls short of 0.5, two do not.
    assert set(np.flatnonzero(shares(500, top_p=0.5))) == {1, 3}
    assert set(np.flatnonzero(shares(500, top_p=0.0))) == {1}


def test_min_p_is_a_share_of_the_best() -> None:
    assert set(np.flatnonzero(shares(500, min_p=0.3))) == {1, 2, 3}


def test_the_same_seed_gives_the_same_tokens() -> None:
    first, second, other = sampler(seed=5), sampler(seed=5), sampler(seed=6)
    tokens = [first.sample(LOGITS) for _ in range(50)]
    assert tokens == [second.sample(LOGITS) for _ in range(50)]
    assert tokens != [other.sample(LOGITS) for _ in range(50)]


def test_penalties_lower_what_was_seen() -> None:
    chain = sampler(temperature=0.0, repeat_penalty=3.0)
    chain.accept(1)
    assert chain.sample(LOGITS) == 3
    chain = sampler(temperature=0.0, presence_penalty=0.5)
    for token in (1, 3):
        chain.accept(token)
    assert chain.sample(LOGITS) == 1
    chain = sampler(temperature=0.0, frequency_penalty=0.6)
    for token in (1, 1, 3):
        chain.accept(token)
    assert chain.sample(LOGITS) == 3


def test_penalties_forget_after_repeat_last_n() -> None:
    chain = sampler(temperature=0.0, repeat_penalty=3.0, repeat_last_n=2)
    for token in (1, 0, 0):
        chain.accept(token)
    assert chain.sample(LOGITS) == 1


def test_a_mask_allows_only_its_tokens() -> None:
    chain = sampler()
    mask = np.array([0b10101], dtype=np.uint32)
    assert {chain.sample(LOGITS, mask) for _ in range(200)} <= {0, 2, 4}
    with pytest.raises(ConfigError, match="no token is allowed"):
        chain.sample(LOGITS, np.zeros(1, np.uint32))
    with pytest.raises(ShapeError, match="a bit for each of 40 tokens"):
        chain.sample(np.zeros(40, np.float32), mask)


def test_minus_infinity_forbids_and_other_non_finite_logits_are_errors() -> None:
    row = np.array([1.0, -np.inf], dtype=np.float32)
    assert {sampler().sample(row) for _ in range(20)} == {0}
    with pytest.raises(NumericsError, match="token 1"):
        sampler().sample(np.array([1.0, np.nan], dtype=np.float32))
    with pytest.raises(NumericsError, match="no token has a finite logit"):
        sampler().sample(np.full(3, -np.inf, dtype=np.float32))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", float("nan")),
        ("temperature", -1.0),
        ("top_k", -1),
        ("top_k", True),
        ("top_p", 1.5),
        ("min_p", float("inf")),
        ("repeat_penalty", 0.0),
        ("repeat_last_n", 1.5),
        ("seed", -1),
        ("presence_penalty", "much"),
    ],
)
def test_impossible_settings_are_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{field}: expected"):
        SamplingConfig(**{field: value})  # type: ignore[arg-type]
