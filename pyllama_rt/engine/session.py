"""One sequence of tokens being read and written by a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np
import numpy.typing as npt

from pyllama_rt.engine.load import Model
from pyllama_rt.errors import ContextError

Logits = npt.NDArray[np.float32]


class Session:
    """A sequence and its place in a cache. Not for use by two threads at once."""

    def __init__(
        self, model: Model, *, on_logits: Callable[[int, Logits], None] | None = None
    ) -> None:
        """An empty sequence in a cache of its own.

        Args: on_logits: called with the position of the first row and the rows after every step;
            then logits of every row are computed.
        """
        self.model = model
        self._on_logits = on_logits
        self.tokens: list[int] = []
        self.last_logits: Logits | None = None  # (n_vocab,), after the last token
        self._cache = model.new_cache()
        self._sequence = self._cache.create()

    def eval(self, ids: Sequence[int], *, all_logits: bool = False) -> Logits:
        """Appends ids to the sequence, n_batch of them a step.

        Args: ids: at least one id. all_logits: logits of every row instead of the last.
        Returns: (len(ids), n_vocab) f32 with all_logits, else (1, n_vocab).
        Raises: ContextError if the ids do not fit; NumericsError if the weights are damaged. What
            earlier steps appended stays.
        """
        self.check_room(len(ids))
        self.truncate(len(self.tokens))
        threads, chunk = self.model.threads, self.model.config.n_batch
        all_logits = all_logits or self._on_logits is not None
        outputs = []
        for begin in range(0, len(ids), chunk):
            part = np.asarray(ids[begin : begin + chunk], dtype=np.int32)
            wanted = np.full(len(part), all_logits, dtype=np.uint8)
            if begin + chunk >= len(ids):
                wanted[-1] = 1
            sequences = np.full(len(part), self._sequence, dtype=np.int64)
            n_threads = threads.single if len(part) == 1 else threads.batch
            rows = self.model.program.step(self._cache, part, sequences, wanted, n_threads)
            if self._on_logits is not None:
                self._on_logits(len(self.tokens), rows)
            self.tokens.extend(part.tolist())
            self.last_logits = rows[-1].copy() if len(rows) else None
            outputs.append(rows)
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    def check_room(self, n_new: int) -> None:
        """Raises ContextError unless n_new more tokens fit the context."""
        n_ctx = self.model.n_ctx
        if len(self.tokens) + n_new > n_ctx:
            raise ContextError(
                f"{len(self.tokens) + n_new} tokens do not fit the context of {n_ctx}; "
                "shorten the text or ask for a larger context (--ctx, n_ctx)"
            )

    def truncate(self, n: int) -> None:
        """Keeps the first n tokens."""
        if n < len(self.tokens):
            self.last_logits = None
        # In this order an interrupt in between leaves the cache too long, which `eval` puts right.
        del self.tokens[n:]
        self._cache.truncate(self._sequence, len(self.tokens))

    def resume(self, ids: Sequence[int]) -> Logits:
        """Makes the sequence equal `ids`, keeping the longest prefix that it already has.

        Returns: (n_vocab,) f32, the logits after the last id; they do not depend on how much
            was kept.
        """
        kept = _common_prefix(self.tokens, list(ids[:-1]))
        if len(ids) > self.model.n_ctx:
            self.truncate(0)
            self.check_room(len(ids))
        self.truncate(kept)
        last: Logits = self.eval(ids[kept:])[-1]
        return last

    def close(self) -> None:
        """Gives the cache back."""
        self._cache.release(self._sequence)

    def __enter__(self) -> Session:
        """Nothing happens."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes."""
        self.close()


def _common_prefix(mine: list[int], wanted: list[int]) -> int:
    """Length of the longest prefix that both share."""
    if mine == wanted[: len(mine)]:  # the usual case, and much faster than looking at each
        return len(mine)
    return next(i for i, token in enumerate(mine) if wanted[i : i + 1] != [token])
