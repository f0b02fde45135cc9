"""`Llama`: loading, tokens and logits."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyllama_rt import Llama
from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.errors import ConfigError, ContextError, FormatError, StateError


def test_vocabulary(llm: Llama) -> None:
    ids = llm.tokenize("Hello, 世界".encode())
    assert ids[0] == llm.token_bos() == 1
    assert llm.token_eos() == 2
    assert llm.detokenize([llm.token_nl()]) == b"\n"
    assert llm.detokenize(ids) == "Hello, 世界".encode()
    assert llm.detokenize(ids[1:]) == " Hello, 世界".encode()
    assert llm.detokenize(ids, special=True).startswith(b"<s> Hello")
    assert llm.tokenize(b"Hello, \xe4\xb8\x96\xe7\x95\x8c", add_bos=False) == ids[1:]
    assert 2 not in llm.tokenize(b"</s>")
    assert 2 in llm.tokenize(b"</s>", special=True)
    assert llm.n_vocab() == 4096
    assert llm.n_embd() == 256
    with pytest.raises(ConfigError):
        llm.detokenize([4096])


def test_metadata_is_text(llm: Llama) -> None:
    assert llm.metadata["general.architecture"] == "llama"
    assert llm.metadata["llama.context_length"] == "512"
    assert llm.metadata["llama.rope.freq_base"] == "10000.000000"
    assert llm.metadata["tokenizer.ggml.add_bos_token"] == "true"
    assert "tokenizer.ggml.tokens" not in llm.metadata


def test_eval_appends_and_scores_hold_the_last_row(llm: Llama) -> None:
    ids = llm.tokenize(b"One day, a fox")
    llm.reset()
    llm.eval(ids[:3])
    llm.eval(ids[3:])
    assert llm.n_tokens == len(ids)
    assert llm.input_ids[: len(ids)].tolist() == ids
    assert llm.scores.shape == (512, 4096)
    rows = np.flatnonzero(llm.scores.any(axis=1))
    assert rows.tolist() == [len(ids) - 1]
    assert llm.sample(temp=0.0) == int(llm.scores[len(ids) - 1].argmax())
    llm.eval([])
    assert llm.n_tokens == len(ids)
    llm.reset()
    assert llm.n_tokens == 0
    with pytest.raises(StateError, match="eval"):
        llm.sample()


def test_logits_all_keeps_every_row() -> None:
    with Llama(DEMO_MODEL, logits_all=True, n_batch=3, verbose=False) as llm:
        ids = llm.tokenize(b"One day, a fox and a kite")
        llm.eval(ids)
        kept = llm.scores[: len(ids)].copy()
        assert kept.any(axis=1).all()
        for n in (1, 4, len(ids)):
            llm.reset()
            llm.eval(ids[:n])
            assert np.array_equal(llm.scores[n - 1], kept[n - 1])
        assert llm.sample(temp=0.0, idx=2) == int(kept[2].argmax())
        list(islice(llm.generate(ids, temp=0.0), 3))
        assert np.array_equal(llm.scores[: len(ids)], kept)
        assert llm.scores[: llm.n_tokens].any(axis=1).all()


def test_generate(llm: Llama) -> None:
    ids = llm.tokenize(b"One day, a")
    wanted = list(islice(llm.generate(ids, temp=0.0), 6))
    assert list(islice(llm.generate(ids, temp=0.0), 6)) == wanted
    llm.reset()
    llm.eval(ids[:2])
    assert list(islice(llm.generate(ids[2:], temp=0.0, reset=False), 6)) == wanted
    ended = llm.generate(ids, temp=0.0, stopping_criteria=lambda seen, _: len(seen) == len(ids) + 2)
    assert list(ended) == wanted[:2]


def test_tokens_sent_into_generate_follow_the_last(llm: Llama) -> None:
    ids = llm.tokenize(b"One day, a")
    extra = llm.tokenize(b" fox", add_bos=False)
    made = llm.generate(ids, temp=0.0)
    first = next(made)
    second = made.send(extra)
    assert second == next(llm.generate([*ids, first, *extra], temp=0.0))
    with pytest.raises(ConfigError):
        made.send([-1])


def test_context_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Llama(DEMO_MODEL, n_ctx=0) as llm:
        assert llm.n_ctx() == 512
    announced = capsys.readouterr()
    assert "context 512" in announced.err
    assert announced.out == ""
    with Llama(DEMO_MODEL, n_ctx=8, verbose=False) as llm, pytest.raises(ContextError, match="8"):
        llm.eval([1] * 9)
    assert capsys.readouterr().err == ""
    for n_ctx in (-1, 1 << 40):
        with pytest.raises(ConfigError, match="n_ctx"):
            Llama(DEMO_MODEL, n_ctx=n_ctx)
    with pytest.raises(FormatError, match="directory"):
        Llama(tmp_path)
    with pytest.raises(ConfigError, match=r"none\.gguf"):
        Llama(str(tmp_path / "none.gguf"))


def test_arguments_that_would_change_something_are_refused() -> None:
    for options in ({"draft_model": "x"}, {"lora_path": 3}, {"spm_infill": True}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            Llama(DEMO_MODEL, **options)
    with pytest.raises(TypeError, match="n_cxt"):
        Llama(DEMO_MODEL, n_cxt=5)
    with pytest.raises(ConfigError, match="seed"):
        Llama(DEMO_MODEL, seed=-7)


def test_where_things_lie_changes_nothing(llm: Llama) -> None:
    options: dict[str, Any] = {
        "n_gpu_layers": -1,
        "use_mmap": False,
        "use_mlock": True,
        "numa": True,
    }
    with Llama(DEMO_MODEL, verbose=False, **options) as other:
        for one in (llm, other):
            one.reset()
            one.eval([1, 300, 301])
        assert np.array_equal(other.scores[2], llm.scores[2])


def test_without_a_stderr_nothing_is_announced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    Llama(DEMO_MODEL).close()
    assert capsys.readouterr().out == ""


def test_a_vocabulary_alone() -> None:
    with Llama(DEMO_MODEL, vocab_only=True) as llm:
        assert llm.detokenize(llm.tokenize(b"One day")) == b"One day"
        assert llm.metadata["general.name"] == "demo"
        with pytest.raises(StateError, match="vocab_only"):
            llm.eval([1])
        with pytest.raises(StateError, match="vocab_only"):
            llm("One")
