"""Vectors of texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from families import IDS, write_family

from pyllama_rt import Llama
from pyllama_rt.config import LoadConfig
from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.engine.embed import embed
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import ConfigError, ContextError, StateError

GOLDEN = Path(__file__).parents[1] / "models/golden/bert.npz"
PLAIN = LoadConfig(kv_type="f32")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    convert_checkpoint(write_family("bert", folder / "m"), folder / "m.gguf", outtype="f32")
    return folder / "m.gguf"


def test_poolings_of_what_transformers_computes(bert: Path) -> None:
    rows = np.load(GOLDEN)["rows"]
    wanted = {"mean": rows.mean(axis=0), "cls": rows[0], "last": rows[-1], None: rows.mean(axis=0)}
    for pooling, vector in wanted.items():
        config = replace(PLAIN, pooling=pooling)
        with load_model(bert, config) as model, Session(model) as session:
            raw = embed(session, IDS, normalize=False)
            assert np.abs(raw - vector).max() < 1e-4
            unit = embed(session, IDS)
            assert np.linalg.norm(unit) == pytest.approx(1)
            assert np.abs(unit - vector / np.linalg.norm(vector)).max() < 1e-4
            assert not np.allclose(embed(session, IDS[:5], normalize=False), raw)


def test_a_model_that_writes_gives_hidden_states(tmp_path: Path) -> None:
    convert_checkpoint(write_family("llama", tmp_path / "m"), tmp_path / "m.gguf", outtype="f32")
    with load_model(tmp_path / "m.gguf", replace(PLAIN, embedding=True)) as model:
        with Session(model) as session:
            vector = embed(session, IDS, normalize=False)
        assert vector.shape == (64,)
        assert model.program.output_width == 64
    plain = load_model(tmp_path / "m.gguf", PLAIN)
    with plain, Session(plain) as session, pytest.raises(ConfigError, match="embedding=True"):
        embed(session, IDS)


def test_rows_that_see_one_another_are_read_at_once(bert: Path) -> None:
    config = replace(PLAIN, n_batch=4)  # less than the text
    with load_model(bert, config) as model, Session(model) as session:
        whole = embed(session, IDS)
        session.truncate(0)
        session.eval(IDS[:3])
        with pytest.raises(StateError, match="in one call"):
            session.eval(IDS[3:5])
        with pytest.raises(ConfigError, match="at least one token"):
            embed(session, [])
        with pytest.raises(ContextError, match="256"):
            embed(session, [5] * 257)
    with load_model(bert, PLAIN) as model, Session(model) as session:
        assert np.array_equal(embed(session, IDS), whole)


def test_the_facade(bert: Path) -> None:
    with Llama(bert, embedding=True, verbose=False) as llm:
        one = llm.embed("abc def")
        two = llm.embed(["abc def", "gh"], normalize=True)
        found = llm.create_embedding(["abc def", "gh"])
    assert np.allclose(np.array(one) / np.linalg.norm(one), two[0], atol=1e-6)
    assert [item["index"] for item in found["data"]] == [0, 1]
    assert np.allclose(found["data"][1]["embedding"], two[1])
    assert found["usage"]["prompt_tokens"] > 2


@pytest.mark.parametrize("embedding", [False, True])
def test_models_that_give_vectors_write_no_text(bert: Path, embedding: bool) -> None:
    refused = "gives vectors, not text"
    with Llama(bert, verbose=False, embedding=embedding) as llm:
        with pytest.raises(ConfigError, match=refused):
            llm("abc", max_tokens=2)
        with pytest.raises(ConfigError, match=refused):
            llm("abc", max_tokens=0, echo=True, logprobs=1)
        with pytest.raises(ConfigError, match=refused):
            next(llm.generate([5, 6]))
        with pytest.raises(ConfigError, match=refused):
            llm.sample()
        with pytest.raises(ConfigError, match=refused):
            _ = llm.scores
    with pytest.raises(ConfigError, match="logits_all"):
        Llama(bert, logits_all=True, verbose=False)


def test_learned_positions_bound_the_context(bert: Path) -> None:
    with pytest.raises(ConfigError, match="256 learned positions, found 300"):
        load_model(bert, replace(PLAIN, n_ctx=300))
