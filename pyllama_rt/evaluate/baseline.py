"""Predictions of a model, kept exactly to compare other models with."""

from __future__ import annotations

import tempfile
from typing import BinaryIO

import numpy as np

from pyllama_rt.closing import Closing
from pyllama_rt.engine.load import Model
from pyllama_rt.errors import ResourceError, StateError
from pyllama_rt.evaluate.divergence import BaseRows
from pyllama_rt.evaluate.perplexity import Perplexity, Progress, measure_perplexity
from pyllama_rt.evaluate.scored_rows import Ints, ScoredRows
from pyllama_rt.evaluate.windows import Windows

_ITEM_BYTES = 4


def baseline_bytes(windows: Windows, n_vocab: int) -> int:
    """What the temporary file of a Baseline takes."""
    return windows.n_tokens * n_vocab * _ITEM_BYTES


class Baseline(Closing):
    """A base (see divergence.py) in a temporary file, which is gone after `close`.

    The file takes four bytes for each of n_rows times n_vocab probabilities. perplexity: the
    model's own.
    """

    def __init__(
        self, model: Model, windows: Windows, *, progress: Progress = lambda *_: None
    ) -> None:
        """Runs the model over the windows; afterwards it may be closed.

        Raises: as `measure_perplexity`; ResourceError if the temporary folder is full.
        """
        self.n_vocab = model.n_vocab
        self.n_rows = windows.n_tokens
        self._self_terms = np.empty(self.n_rows)
        self._losses = np.empty(self.n_rows)
        self._best = np.empty(self.n_rows, np.int64)
        self._n_added = 0
        self._file: BinaryIO | None = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self.perplexity: Perplexity = measure_perplexity(
                model, windows, keep=self._add, progress=progress
            )
        except BaseException:
            self.close()
            raise

    def rows(self, first: int, targets: Ints) -> BaseRows:
        """As Base says. Raises: StateError after `close`."""
        n = len(targets)
        p = np.empty((n, self.n_vocab), np.float32)
        file = self._open()
        file.seek(first * self.n_vocab * _ITEM_BYTES)
        if file.readinto(p.data.cast("B")) != p.nbytes:  # type: ignore[attr-defined]
            raise ResourceError("the temporary file of the base was cut short")
        part = slice(first, first + n)
        return BaseRows(p, self._self_terms[part], self._losses[part], self._best[part])

    def close(self) -> None:
        """Removes the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _open(self) -> BinaryIO:
        if self._file is None:
            raise StateError("the base is closed")
        return self._file

    def _add(self, rows: ScoredRows) -> None:
        log_p = rows.logits - rows.log_sums[:, None]
        p = np.exp(log_p).astype(np.float32)
        part = slice(self._n_added, self._n_added + len(p))
        # Over the rounded probabilities, so that a model compared with itself diverges by nothing.
        self._self_terms[part] = np.einsum("ij,ij->i", p.astype(np.float64), log_p)
        self._losses[part] = rows.losses
        self._best[part] = rows.logits.argmax(axis=1)
        self._n_added += len(p)
        try:
            self._open().write(p.data)
        except OSError as error:
            raise ResourceError(
                f"{tempfile.gettempdir()}: cannot keep the base: {error.strerror}; make room or "
                "take less text"
            ) from None
