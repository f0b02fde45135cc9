"""Tokens from a session, and text from tokens."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pyllama_rt import _core
from pyllama_rt.config import SamplingConfig
from pyllama_rt.engine.session import Logits, Session
from pyllama_rt.engine.stops import StopScanner
from pyllama_rt.errors import ConfigError, ShapeError, shown
from pyllama_rt.tokenizer.stream import StreamDecoder

_USUAL_TOKENS = 512
"""Length of an answer where none is given, for what depends on it."""

StoppingCriterion = Callable[[list[int], Logits], bool]
"""Takes the ids so far and the logits (n_vocab,) of the next one; True ends the text before it."""

LogitsProcessor = Callable[[list[int], Logits], Logits]
"""Takes the ids so far and one row of logits (n_vocab,), and returns the row to sample from."""


@dataclass(frozen=True, slots=True)
class Token:
    """A sampled token and the logits (n_vocab,) that it was sampled from."""

    id: int
    logits: Logits


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of generated text. The last one has a finish reason: "stop" or "length".

    tokens: the tokens sampled since the chunk before.
    """

    text: str
    tokens: tuple[Token, ...]
    finish_reason: str | None = None


def make_sampler(config: SamplingConfig) -> _core.Sampler:
    """The sampler chain of one request, with a random seed if none is given."""
    return _core.Sampler(
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        min_p=config.min_p,
        repeat_penalty=config.repeat_penalty,
        frequency_penalty=config.frequency_penalty,
        presence_penalty=config.presence_penalty,
        repeat_last_n=config.repeat_last_n,
        seed=secrets.randbits(64) if config.seed is None else config.seed,
    )


def processed(row: Logits, ids: Sequence[int], processors: Sequence[LogitsProcessor]) -> Logits:
    """The row after all processors. Raises: ShapeError if one gives something else than a row."""
    for process in processors:
        found = process(list(ids), row.copy())
        try:
            changed = np.asarray(found, dtype=np.float32)
        except (TypeError, ValueError):
            changed = np.empty(0, np.float32)
        if changed.shape != row.shape:
            raise ShapeError(
                f"logits processor: expected {row.size} numbers back, found {shown(found)}"
            )
        row = changed
    return row


def generate_tokens(
    session: Session,
    prompt: Sequence[int],
    sampling: SamplingConfig,
    processors: Sequence[LogitsProcessor] = (),
    *,
    n_planned: int = 0,
) -> Generator[Token, Sequence[int] | None, None]:
    """Tokens that continue the prompt, until the context is full; the caller decides to stop.

    Args: n_planned: length of the whole text, as for `Session.expect`.

    The session keeps what it shares with the prompt, and may be used for something else between
    two tokens. A token is read by the model only when the one after it is asked for. Ids that are
    sent in follow the last token.
    Raises: ConfigError for an empty prompt, ContextError if it does not fit.
    """
    if not prompt:
        raise ConfigError("prompt: expected at least one token, found none")
    session.model.check_writes()
    sampler = make_sampler(sampling)
    ids = list(prompt)
    for token in ids:
        sampler.accept(token)
    row = session.resume(ids, n_planned)
    while True:
        version = session.version
        row = processed(row, ids, processors)
        token = sampler.sample(row)
        sampler.accept(token)
        new = [token, *((yield Token(token, row)) or ())]
        for sent in new[1:]:
            sampler.accept(sent)
        ids += new
        if len(ids) > session.model.n_ctx:
            return
        # Where nobody else used the session, there is no prefix to look for.
        is_own = session.version == version
        row = session.eval(new)[-1] if is_own else session.resume(ids, n_planned)


def planned_length(prompt: Sequence[int], max_tokens: int | None) -> int:
    """Tokens of a text when it is done, as far as that is known before."""
    return len(prompt) + (_USUAL_TOKENS if max_tokens is None else max_tokens)


def generate_text(
    session: Session,
    prompt: Sequence[int],
    sampling: SamplingConfig,
    *,
    max_tokens: int | None = None,
    stop: Sequence[str] = (),
    processors: Sequence[LogitsProcessor] = (),
    criteria: Sequence[StoppingCriterion] = (),
) -> Iterator[Chunk]:
    """Text that continues the prompt, whole characters at a time.

    Ends at an end-of-generation token, a stop string or by a criterion ("stop"), or after
    max_tokens or at the end of the context ("length"). Neither the end token nor the stop string
    is part of the text.
    """
    tokenizer = session.model.tokenizer
    # Where nothing but BOS comes before, the text starts as a text does: without a space.
    at_start = list(prompt) == [tokenizer.bos_id]
    decoder, scanner = StreamDecoder(tokenizer, at_start=at_start), StopScanner(stop)
    waiting: list[Token] = []
    n_left = max_tokens
    reason = "length"
    n_planned = planned_length(prompt, max_tokens)
    if n_left == 0:
        session.resume(prompt, n_planned)
    made = generate_tokens(session, prompt, sampling, processors, n_planned=n_planned)
    for token in made if n_left != 0 else ():
        met = any(criterion(list(session.tokens), token.logits) for criterion in criteria)
        if met or token.id in tokenizer.eog_ids:
            reason = "stop"
            break
        waiting.append(token)
        text = scanner.push(decoder.push(token.id))
        if scanner.stopped:
            yield Chunk(text, tuple(waiting), "stop")
            return
        if text:
            yield Chunk(text, tuple(waiting))
            waiting = []
        if n_left is not None:
            n_left -= 1
            if n_left == 0:
                break
    tail = scanner.push(decoder.flush())
    tail = tail if scanner.stopped else tail + scanner.flush()
    yield Chunk(tail, tuple(waiting), "stop" if scanner.stopped else reason)
