"""Log-probabilities from rows of logits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pyllama_rt.engine.logprobs import token_logprob


def test_a_row() -> None:
    logits = np.log(np.array([0.5, 0.125, 0.25, 0.125], np.float32)) + np.float32(1000)
    found = token_logprob(2, logits, 3)
    assert found.id == 2
    assert found.logprob == pytest.approx(math.log(0.25), abs=1e-4)
    assert [token for token, _ in found.top] == [0, 2, 1]
    assert found.top[0][1] == pytest.approx(math.log(0.5), abs=1e-4)


def test_tokens_that_cannot_come_are_not_named() -> None:
    logits = np.array([-np.inf, 3.0, -np.inf], np.float32)
    assert token_logprob(1, logits, 3).top == ((1, 0.0),)
    assert token_logprob(1, logits, 0).top == ()
