"""Sessions: context limits, prefixes, generation to its end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_llama import write_tiny_llama

from pyllama_rt.config import LoadConfig, SamplingConfig
from pyllama_rt.engine.generate import generate_text, generate_tokens
from pyllama_rt.engine.load import Model, load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import ConfigError, ContextError, StateError

GREEDY = SamplingConfig(temperature=0.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    path = write_tiny_llama(tmp_path_factory.mktemp("tiny") / "m.gguf", "q8_0").path
    with load_model(path, LoadConfig(n_ctx=40)) as loaded:
        yield loaded


def test_generation_ends_with_the_context(model: Model) -> None:
    with Session(model) as session:
        chunks = list(generate_text(session, [1, 5, 6], GREEDY))
    assert chunks[-1].finish_reason == "length"
    # The last sampled token is never read, so that it needs no cell.
    assert sum(len(chunk.tokens) for chunk in chunks) == 40 - 3 + 1


def test_max_tokens_counts_exactly(model: Model) -> None:
    for limit in (0, 1, 7):
        with Session(model) as session:
            chunks = list(generate_text(session, [1, 5, 6], GREEDY, max_tokens=limit))
        assert sum(len(chunk.tokens) for chunk in chunks) == limit
        assert chunks[-1].finish_reason == "length"


def test_a_prompt_longer_than_the_context_is_refused(model: Model) -> None:
    with Session(model) as session:
        with pytest.raises(ContextError, match="41 tokens do not fit the context of 40"):
            session.eval([3] * 41)
        session.eval([3] * 40)
        with pytest.raises(ContextError, match="41 tokens"):
            session.eval([3])
        with pytest.raises(ContextError, match="50 tokens"):
            session.resume([3] * 50)
        assert session.resume([3] * 40).shape == (model.n_vocab,)


def test_an_empty_prompt_is_refused(model: Model) -> None:
    with Session(model) as session, pytest.raises(ConfigError, match="at least one token"):
        next(generate_tokens(session, [], GREEDY))


def test_ids_outside_the_vocabulary_are_refused(model: Model) -> None:
    for bad in (-1, model.n_vocab):
        with Session(model) as session:
            with pytest.raises(ConfigError, match=rf"token ids from 0 to .* found {bad}"):
                session.eval([1, bad])
            assert session.tokens == []
            session.eval([1])


def test_a_processor_chooses(model: Model) -> None:
    def only_nine(ids: list[int], row: NDArray[np.float32]) -> NDArray[np.float32]:
        row[:] = -np.inf
        row[9 + len(ids)] = 1.0
        return row

    with Session(model) as session:
        tokens = generate_tokens(session, [1], SamplingConfig(seed=1), [only_nine])
        assert [next(tokens).id for _ in range(3)] == [10, 11, 12]


def test_a_closed_model_says_so(tmp_path: Path) -> None:
    model = load_model(write_tiny_llama(tmp_path / "m.gguf").path)
    session = Session(model)
    model.close()
    model.close()
    with pytest.raises(StateError, match="the model is closed"):
        session.eval([1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_after_a_fork_a_step_with_threads_is_an_error(model: Model) -> None:
    with Session(model) as session:
        threads, model.threads = model.threads, type(model.threads)(2, 2)
        session.eval([1, 2])
        child = os.fork()
        if child == 0:
            try:
                session.eval([3])
            except StateError:
                os._exit(7)
            os._exit(1)
        model.threads = threads
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_closed_session_says_so(model: Model) -> None:
    session = Session(model)
    stream = generate_text(session, [1, 5, 6], GREEDY)
    next(stream)
    session.close()
    session.close()
    for use in (lambda: session.eval([1]), lambda: session.truncate(0), lambda: next(stream)):
        with pytest.raises(StateError, match="the session is closed"):
            use()


def test_two_threads_at_once_are_refused(model: Model) -> None:
    found: list[StateError] = []

    def intrude(position: int, rows: NDArray[np.float32]) -> None:
        del position, rows
        for use in (lambda: session.eval([1]), lambda: session.truncate(0), session.close):
            thread = threading.Thread(target=record, args=(use,))
            thread.start()
            thread.join()

    def record(use: Callable[[], object]) -> None:
        try:
            use()
        except StateError as error:
            found.append(error)

    with Session(model, on_logits=intrude) as session:
        session.eval([1, 2, 3])
        assert session.tokens == [1, 2, 3]
    assert len(found) == 3
    assert all("two threads at once" in str(error) for error in found)


def test_only_the_rows_asked_for_are_kept(model: Model) -> None:
    ids = list(range(3, 33))
    seen: list[tuple[int, int]] = []
    with load_model(model.path, LoadConfig(n_ctx=40, n_batch=7)) as chunked:
        with Session(chunked, on_logits=lambda at, rows: seen.append((at, len(rows)))) as session:
            last = session.eval(ids)
        with Session(chunked) as session:
            every = session.eval(ids, all_logits=True)
    assert seen == [(0, 7), (7, 7), (14, 7), (21, 7), (28, 2)]
    assert last.shape == (1, model.n_vocab)
    assert every.shape == (30, model.n_vocab)
    assert np.array_equal(every[-1:], last)


def test_generation_looks_for_its_prefix_only_where_somebody_came_between(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed: list[int] = []
    resume = Session.resume

    def counted(self: Session, ids: Sequence[int], n_planned: int = 0) -> NDArray[np.float32]:
        resumed.append(len(ids))
        return resume(self, ids, n_planned)

    with Session(model) as session:
        wanted = [token.id for token in generate_tokens(session, [1, 5, 6], GREEDY)]
    monkeypatch.setattr(Session, "resume", counted)
    with Session(model) as session:
        stream = generate_tokens(session, [1, 5, 6], GREEDY)
        found = [next(stream).id for _ in range(9)]
        assert resumed == [3]
        session.truncate(4)
        found += [next(stream).id for _ in range(3)]
        assert resumed == [3, 12]
        session.eval([7])
        found += [token.id for token in stream]
        assert resumed == [3, 12, 15]
    assert found == wanted


class NoProgram:
    """Steps that take no time."""

    def __init__(self, n_vocab: int) -> None:
        self._rows = np.zeros((1, n_vocab), np.float32)

    def step(self, *_: object) -> NDArray[np.float32]:
        return self._rows


class NoCache:
    def create(self) -> int:
        return 0

    def truncate(self, *_: object) -> None: ...
    def release(self, *_: object) -> None: ...


def test_the_time_beside_the_steps_does_not_grow_with_the_text(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_ctx = 200_000
    monkeypatch.setattr(model, "n_ctx", n_ctx)
    monkeypatch.setattr(model, "new_cache", NoCache)
    monkeypatch.setattr(model._bound, "program", NoProgram(model.n_vocab))

    def seconds(n_before: int) -> float:
        """CPU time of 500 tokens behind n_before others, the least of three."""
        times = []
        for _ in range(3):
            with Session(model) as session:
                stream = generate_tokens(session, [1] * n_before, GREEDY)
                next(stream)
                started = time.process_time()
                for _ in range(500):
                    next(stream)
                times.append(time.process_time() - started)
        return min(times)

    assert seconds(n_ctx - 600) < 3 * seconds(1) + 0.01
