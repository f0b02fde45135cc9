"""Metadata that change the arithmetic mean the same here and in llama-cpp-python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_llama import write_tiny_llama

from pyllama_rt.config import LoadConfig
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session

llama_cpp = pytest.importorskip("llama_cpp", reason="the comparison needs llama-cpp-python")
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]

IDS = [1, *(3 + i * 37 % 250 for i in range(40))]
TYPE, FACTOR = "llama.rope.scaling.type", "llama.rope.scaling.factor"


def ours(path: Path) -> NDArray[np.float32]:
    with load_model(path, LoadConfig(kv_type="f32")) as model, Session(model) as session:
        return session.eval(IDS, all_logits=True)


def theirs(path: Path) -> NDArray[np.float32]:
    peer = llama_cpp.Llama(str(path), n_ctx=64, n_batch=64, logits_all=True, verbose=False)
    peer.eval(IDS)
    scores = peer.scores[: len(IDS)].copy()
    peer.close()
    return np.asarray(scores, np.float32)


@pytest.mark.parametrize(
    ("keys", "is_scaled"),
    [
        ({}, False),
        ({FACTOR: 4.0}, True),
        ({TYPE: "linear", FACTOR: 4.0}, True),
        ({TYPE: "none", FACTOR: 4.0}, False),
        ({"llama.rope.scale_linear": 4.0}, True),
        ({"llama.rope.scale_linear": 9.0, FACTOR: 4.0}, True),
        ({TYPE: "linear", FACTOR: 0.0}, False),
    ],
)
def test_rope_scaling(keys: dict[str, object], is_scaled: bool, tmp_path: Path) -> None:
    mine = ours(write_tiny_llama(tmp_path / "m.gguf", more_keys=keys).path)
    assert np.abs(mine - theirs(tmp_path / "m.gguf")).max() < 2e-2
    plain = ours(write_tiny_llama(tmp_path / "plain.gguf").path)
    assert bool(np.abs(mine - plain).max() > 1e-1) is is_scaled


def test_rotary_divisors(tmp_path: Path) -> None:
    mine = ours(write_tiny_llama(tmp_path / "m.gguf", rope_freqs=True).path)
    assert np.abs(mine - theirs(tmp_path / "m.gguf")).max() < 2e-2
    plain = ours(write_tiny_llama(tmp_path / "plain.gguf").path)
    assert np.abs(mine - plain).max() > 1e-1
