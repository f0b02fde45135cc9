"""The same calls to llama-cpp-python give the same texts, counts and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from shared_data import shared

from pyllama_rt import Llama
from pyllama_rt.convert import convert_checkpoint

pytestmark = [
    pytest.mark.peer,
    # Its own warnings about code that it imports are none of ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

COMPLETIONS: list[dict[str, Any]] = [
    {"prompt": "Once upon a time", "max_tokens": 24},
    {"prompt": "Once upon a time", "max_tokens": 24, "echo": True},
    {"prompt": "One day", "max_tokens": 6, "logprobs": 2},
    {"prompt": "One day", "max_tokens": 6, "logprobs": 2, "echo": True},
    {"prompt": "One day", "max_tokens": 50, "stop": ["fox", "."]},
    {"prompt": "One day", "max_tokens": 50, "stop": "owl"},
    {"prompt": "[INST] What is 3 plus 4? [/INST]", "max_tokens": None},
    {"prompt": "[INST] 法国的首都是哪里？ [/INST]", "max_tokens": 40},
    {"prompt": [1, 1354], "max_tokens": 5},
    {"prompt": "One day", "max_tokens": 6, "logit_bias": {"300": 50.0}},
    {"prompt": "One day", "max_tokens": 5, "model": "mine"},
]
CONVERSATIONS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "What is 3 plus 4?"}]},
    {"messages": [{"role": "user", "content": "你是谁？"}], "max_tokens": 4},
    {"messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]},
    {
        "messages": [
            {"role": "user", "content": "Hello!"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "What is the opposite of hot?"},
        ]
    },
    {
        "messages": [{"role": "user", "content": "Hello!"}],
        "logprobs": True,
        "top_logprobs": 2,
        "max_tokens": 3,
    },
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Llama, Any]]:
    llama_cpp = pytest.importorskip("llama_cpp")
    path = tmp_path_factory.mktemp("peer") / "demo-f16.gguf"
    convert_checkpoint(shared("models/demo/config.json").parent, path, outtype="f16")
    theirs = llama_cpp.Llama(str(path), n_ctx=512, logits_all=True, verbose=False)
    with Llama(path, n_ctx=512, logits_all=True, verbose=False) as ours:
        yield ours, theirs
    theirs.close()


def assert_same(ours: object, theirs: object, where: str = "") -> None:
    """Equal but for ids, times, bytes that they leave out, and rounding."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict)
        assert set(ours) == set(theirs), where
        for key in set(theirs) - {"id", "created", "bytes"}:
            assert_same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(theirs, list):
        assert isinstance(ours, list)
        assert len(ours) == len(theirs), where
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(one, other, f"{where}[{i}]")
    elif isinstance(theirs, (float, np.floating)):
        assert ours == pytest.approx(float(theirs), abs=0.01), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize("call", COMPLETIONS, ids=str)
def test_completions(pair: tuple[Llama, Any], call: dict[str, Any]) -> None:
    ours, theirs = (llm.create_completion(**call, temperature=0.0) for llm in pair)
    assert_same(ours, theirs)


@pytest.mark.parametrize("call", CONVERSATIONS, ids=str)
def test_conversations(pair: tuple[Llama, Any], call: dict[str, Any]) -> None:
    ours, theirs = (llm.create_chat_completion(**call, temperature=0.0) for llm in pair)
    assert_same(ours, theirs)


def joined(chunks: list[dict[str, Any]]) -> str:
    choices = [chunk["choices"][0] for chunk in chunks]
    return "".join(c["text"] if "text" in c else c["delta"].get("content", "") for c in choices)


def test_streams(pair: tuple[Llama, Any]) -> None:
    for call in COMPLETIONS[:1] + COMPLETIONS[4:6]:
        ours, theirs = (
            list(llm.create_completion(**call, temperature=0.0, stream=True)) for llm in pair
        )
        assert joined(ours) == joined(theirs)
        assert_same([ours[0], ours[-1]], [theirs[0], theirs[-1]])
    for call in CONVERSATIONS[:2]:
        ours, theirs = (
            list(llm.create_chat_completion(**call, temperature=0.0, stream=True)) for llm in pair
        )
        assert joined(ours) == joined(theirs)
        assert_same([*ours[:2], ours[-1]], [*theirs[:2], theirs[-1]])


def test_metadata_and_numbers(pair: tuple[Llama, Any]) -> None:
    ours, theirs = pair
    assert ours.metadata == theirs.metadata
    for name in ("n_vocab", "n_ctx", "n_embd", "token_bos", "token_eos", "token_nl"):
        assert getattr(ours, name)() == getattr(theirs, name)(), name


@pytest.mark.parametrize("text", [b"", b" ", b"Hello  world", "世界\n".encode(), b"<s>a</s> b"])
def test_tokens(pair: tuple[Llama, Any], text: bytes) -> None:
    ours, theirs = pair
    for options in ({}, {"add_bos": False}, {"special": True}):
        ids = ours.tokenize(text, **options)
        assert ids == theirs.tokenize(text, **options), options
        assert ours.detokenize(ids) == theirs.detokenize(ids)
        assert ours.detokenize(ids[1:]) == theirs.detokenize(ids[1:])
        assert ours.detokenize(ids, special=True) == theirs.detokenize(ids, special=True)


def test_logits_and_generate(pair: tuple[Llama, Any]) -> None:
    ours, theirs = pair
    ids = ours.tokenize(b"One day, a big fox had a kite")
    for llm in pair:
        llm.reset()
        llm.eval(ids[:4])
        llm.eval(ids[4:])
    assert ours.n_tokens == theirs.n_tokens
    assert ours.scores.shape == theirs.scores.shape
    assert np.abs(ours.scores[: len(ids)] - theirs.scores[: len(ids)]).max() < 0.02
    assert ours.input_ids[: len(ids)].tolist() == theirs.input_ids[: len(ids)].tolist()
    assert ours.sample(temp=0.0) == theirs.sample(temp=0.0)
    made = [list(islice(llm.generate(ids, temp=0.0), 12)) for llm in pair]
    assert made[0] == made[1]
