"""Sessions: context limits, prefixes, generation to its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
