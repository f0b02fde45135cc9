"""One sequence of tokens being read and written by a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import RLock

import numpy as np
import numpy.typing as npt

from pyllama_rt import _core
from pyllama_rt.closing import Closing
from pyllama_rt.engine.load import Model
from pyllama_rt.errors import ContextError, StateError
from pyllama_rt.models.rope import adaptive_alpha

Logits = npt.NDArray[np.float32]


class Session(Closing):
    """A sequence and its place in a cache. Use by two threads at once raises StateError.

    tokens: the ids so far. last_logits: (n_vocab,) after the last of them, None if it is not
    known. version: another number after every change.
    """

    def __init__(
        self, model: Model, *, on_logits: Callable[[int, Logits], None] | None = None
    ) -> None:
        """An empty sequence in a cache of its own.

        Args: on_logits: called with the position of the first row and the rows after every step;
            then logits of every row are computed.
        """
        self.model = model
        self.tokens: list[int] = []
        self.last_logits: Logits | None = None
        self.version = 0
        self._on_logits = on_logits
        self._cache: _core.KvCache | None = model.new_cache()
        self._sequence = self._cache.create()
        # What an interrupt leaves locked stays open to the thread that was interrupted.
        self._lock = RLock()
        self._model_version = model.version
        self._alpha = 1.0  # of the rotary base
        self._n_planned = 0  # tokens that it was chosen for
        # Steps of one token reuse these arrays.
        self._one_id = np.zeros(1, np.int32)
        self._one_sequence = np.full(1, self._sequence, np.int64)
        self._one_wanted = np.ones(1, np.uint8)

    def eval(self, ids: Sequence[int], *, all_logits: bool = False) -> Logits:
        """Appends ids to the sequence, n_batch of them a step.

        Args: ids: at least one id. all_logits: logits of every row instead of the last.
        Returns: (len(ids), n_vocab) f32 with all_logits, else (1, n_vocab).
        Raises: ContextError if the ids do not fit; NumericsError if the weights are damaged;
            StateError after `close` or while another thread is at it. What earlier steps appended
            stays.
        """
        cache = self._begin()
        try:
            return self._eval(cache, ids, all_logits)
        finally:
            self._lock.release()

    def check_room(self, n_new: int) -> None:
        """Raises ContextError unless n_new more tokens fit the context."""
        n_ctx = self.model.n_ctx
        if len(self.tokens) + n_new > n_ctx:
            raise ContextError(
                f"{len(self.tokens) + n_new} tokens do not fit the context of {n_ctx}; "
                "shorten the text or ask for a larger context (--ctx, n_ctx)"
            )

    def expect(self, n_tokens: int) -> None:
        """Fixes the rotary base for a text of so many tokens, where it depends on the length.

        What the sequence holds is forgotten if that changes the base. A text that outgrows the
        length is read again with a base for more.
        """
        cache = self._begin()
        try:
            planned = min(n_tokens, self.model.n_ctx)
            if self._alpha_for(planned) != self._alpha:
                self._restart(cache, planned)
            self._n_planned = planned
        finally:
            self._lock.release()

    def truncate(self, n: int) -> None:
        """Keeps the first n tokens."""
        cache = self._begin()
        try:
            self._truncate(cache, n)
        finally:
            self._lock.release()

    def resume(self, ids: Sequence[int]) -> Logits:
        """Makes the sequence equal `ids`, keeping the longest prefix that it already has.

        Returns: (n_vocab,) f32, the logits after the last id; they do not depend on how much
            was kept.
        """
        cache = self._begin()
        try:
            if self._model_version != self.model.version:
                self._restart(cache, self._n_planned)
            kept = _common_prefix(self.tokens, list(ids[:-1]))
            if len(ids) > self.model.n_ctx:
                self._truncate(cache, 0)
                self.check_room(len(ids))
            self._truncate(cache, kept)
            last: Logits = self._eval(cache, ids[kept:], False)[-1]
            return last
        finally:
            self._lock.release()

    def close(self) -> None:
        """Gives the cache back. Calling it twice is harmless."""
        if self._cache is None:
            return
        cache = self._begin()
        try:
            self._cache = None
            cache.release(self._sequence)
        finally:
            self._lock.release()

    def _begin(self) -> _core.KvCache:
        """Keeps other threads out until `_lock.release()`. Returns: the cache, to be changed."""
        if not self._lock.acquire(blocking=False):
            raise StateError(
                f"{self.model.path}: the session is used by two threads at once; give each thread "
                "its own, or let them take turns"
            )
        self.version += 1
        if self._cache is None:
            self._lock.release()
            raise StateError(f"{self.model.path}: the session is closed")
        return self._cache

    def _eval(self, cache: _core.KvCache, ids: Sequence[int], all_logits: bool) -> Logits:
        self.check_room(len(ids))
        self._truncate(cache, len(self.tokens))
        if self._alpha_for(len(self.tokens) + len(ids)) > self._alpha:
            planned = max(len(self.tokens) + len(ids), 2 * self._n_planned)
            self._read_again(cache, min(planned, self.model.n_ctx))
        elif self._model_version != self.model.version:
            self._read_again(cache, self._n_planned)
        chunk = self.model.config.n_batch
        if not self.model.model_config.causal:
            if self.tokens:
                raise StateError(
                    f"{self.model.path}: rows of this model see one another; a text must be read "
                    "in one call, after truncate(0)"
                )
            chunk = len(ids)
        collected = []
        for begin in range(0, len(ids), chunk):
            part = ids[begin : begin + chunk]
            last = begin + chunk >= len(ids)
            rows = self._step(cache, part, all_logits or self._on_logits is not None, last)
            if all_logits or last:
                collected.append(rows if all_logits else rows[-1:])
        return collected[0] if len(collected) == 1 else np.concatenate(collected)

    def _step(self, cache: _core.KvCache, ids: Sequence[int], every: bool, last: bool) -> Logits:
        """Reads one chunk. Returns: the rows of all ids, or of the last, or none."""
        threads = self.model.threads
        if len(ids) == 1:
            n_threads = threads.single
            part, sequences, wanted = self._one_id, self._one_sequence, self._one_wanted
            part[0] = ids[0]
            wanted[0] = every or last
        else:
            n_threads = threads.batch
            part = np.asarray(ids, dtype=np.int32)
            sequences = np.full(len(ids), self._sequence, np.int64)
            wanted = np.full(len(ids), every, np.uint8)
            wanted[-1] = every or last
        rows = self.model.program.step(cache, part, sequences, wanted, n_threads)
        position = len(self.tokens)
        self.tokens.extend(part.tolist())
        # A copy: a view would keep all rows alive.
        self.last_logits = rows[-1].copy() if len(rows) else None
        if self._on_logits is not None:
            self._on_logits(position, rows)
        return rows

    def _alpha_for(self, n_tokens: int) -> float:
        """What the rotary base of a text of so many tokens is scaled by."""
        rope = self.model.config.rope
        if rope.kind != "adaptive":
            return 1.0
        return adaptive_alpha(n_tokens, self.model.model_config.n_ctx_train, rope.factor)

    def _restart(self, cache: _core.KvCache, n_planned: int) -> None:
        """An empty sequence whose base is right for n_planned tokens."""
        alpha = self._alpha_for(n_planned)
        sequence = cache.create(alpha)
        cache.release(self._sequence)
        self._sequence = sequence
        self._one_sequence[0] = sequence
        self._alpha, self._n_planned = alpha, n_planned
        self._model_version = self.model.version
        self.tokens, self.last_logits = [], None

    def _read_again(self, cache: _core.KvCache, n_planned: int) -> None:
        """Reads the sequence anew, with a base for n_planned tokens and the adapters of now."""
        kept = self.tokens
        self._restart(cache, n_planned)
        for begin in range(0, len(kept), self.model.config.n_batch):
            part = kept[begin : begin + self.model.config.n_batch]
            self._step(cache, part, self._on_logits is not None, last=False)

    def _truncate(self, cache: _core.KvCache, n: int) -> None:
        if n < len(self.tokens):
            self.last_logits = None
        # In this order an interrupt in between leaves the cache too long, which `_eval` puts right.
        del self.tokens[n:]
        cache.truncate(self._sequence, len(self.tokens))


def _common_prefix(mine: list[int], wanted: list[int]) -> int:
    """Length of the longest prefix that both share."""
    if mine == wanted[: len(mine)]:  # the usual case, and much faster than looking at each
        return len(mine)
    return next(i for i, token in enumerate(mine) if wanted[i : i + 1] != [token])
