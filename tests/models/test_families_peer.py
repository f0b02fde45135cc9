"""Every family of models gives what llama-cpp-python gives for the same GGUF file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from families import FAMILIES, IDS, write_family
from numpy.typing import NDArray

from pyllama_rt.config import LoadConfig
from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.engine.embed import embed
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session

llama_cpp = pytest.importorskip("llama_cpp", reason="the comparison needs llama-cpp-python")
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]

N_CTX = 256
"""The least that the peer takes; it decides which of LongRoPE's divisors hold."""

SHORT = 8
"""Rows that every window shows: the peer leaves the windows of some families out."""

WITHOUT_WINDOWS = ("mistral",)

Report = Callable[[str, str, float], None]


def theirs(path: Path, ids: list[int]) -> NDArray[np.float64]:
    peer = llama_cpp.Llama(
        str(path), n_ctx=N_CTX, n_batch=64, logits_all=True, verbose=False, flash_attn=False,
        type_k=0, type_v=0,
    )  # fmt: skip
    peer.eval(ids)
    rows: NDArray[np.float64] = peer.scores[: len(ids)].astype(np.float64)
    peer.close()
    return rows


def log_softmax(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = rows - rows.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "bert"])
def test_logits(tmp_path: Path, name: str, report: Report) -> None:
    path = tmp_path / "m.gguf"
    convert_checkpoint(write_family(name, tmp_path / "m"), path, outtype="f32")
    ids = IDS[:SHORT] if name in WITHOUT_WINDOWS else IDS
    with (
        load_model(path, LoadConfig(kv_type="f32")) as model,
        Session(model) as session,
    ):
        ours = session.eval(ids, all_logits=True).astype(np.float64)
    p, q = log_softmax(theirs(path, ids)), log_softmax(ours)
    divergence = float((np.exp(p) * (p - q)).sum(axis=1).mean())
    report(name, "peer", divergence)
    assert divergence < 1e-4
    assert (p.argmax(axis=1) == q.argmax(axis=1)).all()


@pytest.mark.parametrize(("pooling", "number"), [("mean", 1), ("cls", 2)])
def test_embeddings(tmp_path: Path, pooling: str, number: int, report: Report) -> None:
    path = tmp_path / "m.gguf"
    convert_checkpoint(write_family("bert", tmp_path / "m"), path, outtype="f32")
    config = LoadConfig(kv_type="f32", pooling=pooling)
    with load_model(path, config) as model, Session(model) as session:
        text = "abc defg hijk lm"
        ids = model.tokenizer.encode(text)
        ours = embed(session, ids)
    peer = llama_cpp.Llama(
        str(path), n_ctx=64, embedding=True, pooling_type=number, verbose=False, flash_attn=False
    )
    assert peer.tokenize(text.encode()) == ids
    wanted = np.array(peer.embed(text, normalize=True), np.float32)
    peer.close()
    report("bert", "peer", 1 - float(ours.astype(np.float64) @ wanted))
    assert float(ours @ wanted) > 1 - 1e-5
