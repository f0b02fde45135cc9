"""One sequence of tokens being read and written by a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import RLock

import numpy as np
import numpy.typing as npt

from pyllama_rt import _core
from pyllama_rt.closing import Closing
from pyllama_rt.engine.load import Model
from pyllama_rt.errors import ContextError, StateError
from pyllama_rt.models.rope import adaptive_alpha

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the cache a text lies, and what its keys and values were computed with.

    alpha: what the rotary base is scaled by. version: of the model's adapters.
    """

    sequence: int
    alpha: float
    version: int


_LENGTH_STEP = 512
"""Lengths that nobody planned are rounded up to a multiple of this."""


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
        self.version = 0
        self._last_logits: Logits | None = None
        self._on_logits = on_logits
        self._cache: _core.KvCache | None = model.new_cache()
        self._place = _Place(self._cache.create(), 1.0, model.version)
        # What an interrupt leaves locked stays open to the thread that was interrupted.
        self._lock = RLock()
        self._n_planned = 0
        self._unread: list[int] = []  # what an interrupt kept from being read again
        # Steps of one token reuse these arrays.
        self._one_id = np.zeros(1, np.int32)
        self._one_sequence = np.zeros(1, np.int64)
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

    @property
    def last_logits(self) -> Logits | None:
        """(n_vocab,) after the last token, None if they are not known."""
        return self._last_logits if self._place.version == self.model.version else None

    def expect(self, n_tokens: int) -> None:
        """Tells how long the text will be, where the rotary base depends on that.

        A text that outgrows the length is read again with a base for more.
        """
        self._begin()
        self._n_planned = min(n_tokens, self.model.n_ctx)
        self._lock.release()

    def truncate(self, n: int) -> None:
        """Keeps the first n tokens; without any left, nothing is known of the length either."""
        cache = self._begin()
        try:
            self._unread = self._unread[: max(n - len(self.tokens), 0)]
            self._truncate(cache, n)
            if n == 0:
                self._n_planned = 0
        finally:
            self._lock.release()

    def resume(self, ids: Sequence[int], n_planned: int = 0) -> Logits:
        """Makes the sequence equal `ids`, keeping the longest prefix that it already has.

        Args: n_planned: length of the text when it is done, as for `expect`.
        Returns: (n_vocab,) f32, the logits after the last id; they do not depend on how much
            was kept.
        """
        cache = self._begin()
        try:
            self._unread = []
            self._n_planned = min(n_planned, self.model.n_ctx)
            if self._wanted_place(len(ids)) != self._place:
                self._restart(cache, len(ids))
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
            cache.release(self._place.sequence)
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
        self.check_room(len(self._unread) + len(ids))
        self._truncate(cache, len(self.tokens))
        self._read_again(cache, len(self.tokens) + len(self._unread) + len(ids))
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
            part[0], sequences[0] = ids[0], self._place.sequence
            wanted[0] = every or last
        else:
            n_threads = threads.batch
            part = np.asarray(ids, dtype=np.int32)
            sequences = np.full(len(ids), self._place.sequence, np.int64)
            wanted = np.full(len(ids), every, np.uint8)
            wanted[-1] = every or last
        rows = self.model.program.step(cache, part, sequences, wanted, n_threads)
        position = len(self.tokens)
        self.tokens.extend(part.tolist())
        # A copy: a view would keep all rows alive.
        self._last_logits = rows[-1].copy() if len(rows) else None
        if self._on_logits is not None:
            self._on_logits(position, rows)
        return rows

    def _wanted_place(self, n_tokens: int) -> _Place:
        """The sequence at hand if its base and its adapters are right for so many tokens.

        A text has the base for its planned length or, where it has none or outgrew it, for its own
        length rounded up; so it does not depend on what the session held before.
        """
        rope, alpha = self.model.config.rope, 1.0
        if rope.kind == "adaptive":
            trained = self.model.model_config.n_ctx_train
            length = max(self._n_planned, n_tokens)
            if n_tokens > max(self._n_planned, trained):
                length = -(-n_tokens // _LENGTH_STEP) * _LENGTH_STEP
            factor = 1.0 if rope.factor is None else rope.factor
            alpha = adaptive_alpha(min(length, self.model.n_ctx), trained, factor)
        return _Place(self._place.sequence, alpha, self.model.version)

    def _restart(self, cache: _core.KvCache, n_tokens: int) -> None:
        """An empty sequence that is right for so many tokens."""
        old, wanted = self._place.sequence, self._wanted_place(n_tokens)
        fresh = replace(wanted, sequence=cache.create(wanted.alpha))
        self.tokens, self._last_logits = [], None
        self._place = fresh  # in one go: an interrupt finds the old place or the new one
        cache.release(old)

    def _read_again(self, cache: _core.KvCache, n_tokens: int) -> None:
        """Reads the sequence anew if its place is not right for so many tokens."""
        if self._wanted_place(n_tokens) != self._place:
            self._unread = [*self.tokens, *self._unread]
            self._restart(cache, n_tokens)
        while self._unread:
            part = self._unread[: self.model.config.n_batch]
            self._step(cache, part, self._on_logits is not None, last=False)
            self._unread = self._unread[len(part) :]

    def _truncate(self, cache: _core.KvCache, n: int) -> None:
        if n < len(self.tokens):
            self._last_logits = None
        # In this order an interrupt in between leaves the cache too long, which `_eval` puts right.
        del self.tokens[n:]
        cache.truncate(self._place.sequence, len(self.tokens))


def _common_prefix(mine: list[int], wanted: list[int]) -> int:
    """Length of the longest prefix that both share."""
    if mine == wanted[: len(mine)]:  # the usual case, and much faster than looking at each
        return len(mine)
    return next(i for i, token in enumerate(mine) if wanted[i : i + 1] != [token])
