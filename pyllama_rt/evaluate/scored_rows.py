"""What a model says about the scored ids of its windows, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pyllama_rt.engine.load import Model
from pyllama_rt.engine.memory import check_memory
from pyllama_rt.engine.session import Session
from pyllama_rt.evaluate.windows import Window, Windows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_LOGIT_BYTES = 4

_BLOCK_ELEMENTS = 1 << 17
"""Logits that are worked on at a time, so that what is made of them stays in the caches."""


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Rows of logits and the ids that came in the text.

    logits: (n, n_vocab). log_sums: (n,), the logarithms of the sums of their exponentials.
    targets: (n,) ids.
    """

    logits: Floats
    log_sums: Floats
    targets: Ints

    @property
    def losses(self) -> Floats:
        """(n,) negative logarithms of the targets' probabilities."""
        picked: Floats = self.log_sums - self.logits[np.arange(len(self.targets)), self.targets]
        return picked


def scored_windows(model: Model, windows: Windows) -> Iterator[Iterator[ScoredRows]]:
    """The scored rows of each window in turn; they must be taken in order.

    Raises: ConfigError for a model that gives vectors; ResourceError if memory is short;
        NumericsError if the weights are damaged.
    """
    model.check_writes()
    # Of a batch of rows, there and here; not of a whole context as for callers that keep them.
    logits = 2 * min(model.config.n_batch, windows.n_ctx) * model.n_vocab * _LOGIT_BYTES
    check_memory(replace(model.memory_need(all_logits=True), logits=logits), model.path)
    with Session(model) as session:
        for window in windows:
            yield _scored_rows(session, window)


def _scored_rows(session: Session, window: Window) -> Iterator[ScoredRows]:
    """Only rows that are scored get logits, and no more than a batch of them at a time."""
    ids = window.ids
    first, end = len(ids) - window.n_scored - 1, len(ids) - 1
    session.truncate(0)
    session.expect(len(ids))
    if first:
        session.eval(ids[:first])
    n_batch = session.model.config.n_batch
    for begin in range(first, end, n_batch):
        part = ids[begin : min(begin + n_batch, end)]
        logits = session.eval(part, all_logits=True)
        targets = np.array(ids[begin + 1 : begin + 1 + len(part)], np.int64)
        n_rows = max(1, _BLOCK_ELEMENTS // logits.shape[1])
        for row in range(0, len(part), n_rows):
            wide = logits[row : row + n_rows].astype(np.float64)
            yield ScoredRows(wide, log_sum_exp(wide), targets[row : row + n_rows])


def log_sum_exp(logits: Floats) -> Floats:
    """(n,) from (n, n_vocab); finite where the logits are."""
    largest = logits.max(axis=1)
    sums: Floats = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest
    return sums
