"""How likely the tokens of a text were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyllama_rt.engine.session import Logits


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token, the natural logarithm of its probability, and the likeliest ones, best first.

    logprob: None for the first token of a text, which nothing predicts.
    """

    id: int
    logprob: float | None
    top: tuple[tuple[int, float], ...]


def token_logprob(token: int, logits: Logits, n_top: int) -> TokenLogprob:
    """Reads one row of logits (n_vocab,). Tokens that cannot come are not among the likeliest."""
    row = logits.astype(np.float64)
    row -= row.max()
    row -= np.log(np.exp(row).sum())
    best = np.argsort(-row, kind="stable")[:n_top]
    top = tuple((int(i), float(row[i])) for i in best if np.isfinite(row[i]))
    return TokenLogprob(token, float(row[token]), top)
