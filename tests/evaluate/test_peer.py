"""Perplexity and divergence against what llama-cpp-python's logits give for the same windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from shared_data import shared

from pyllama_rt.config import LoadConfig
from pyllama_rt.convert import convert_checkpoint, quantize_file
from pyllama_rt.engine.load import load_model
from pyllama_rt.evaluate.baseline import Baseline
from pyllama_rt.evaluate.divergence import Divergence, compare
from pyllama_rt.evaluate.windows import WindowConfig, Windows, cut_windows, encode_text

llama_cpp = pytest.importorskip("llama_cpp", reason="the comparison needs llama-cpp-python")
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]

N_CTX, N_WINDOWS = 512, 12
Logs = NDArray[np.float64]


def peer_logs(path: Path, windows: Windows) -> Logs:
    """Its log-probabilities of the scored rows."""
    peer = llama_cpp.Llama(
        str(path), n_ctx=N_CTX, n_batch=N_CTX, n_threads=2, logits_all=True, verbose=False
    )
    parts = []
    for window in windows:
        peer.reset()
        peer.eval(window.ids)
        rows = peer.scores[N_CTX - 1 - window.n_scored : N_CTX - 1].astype(np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        parts.append(rows - np.log(np.exp(rows).sum(axis=1, keepdims=True)))
    peer.close()
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo model, exact and small."""
    folder = tmp_path_factory.mktemp("demo")
    exact, small = folder / "f16.gguf", folder / "small.gguf"
    convert_checkpoint(shared("models/demo"), exact, outtype="f16")
    quantize_file(exact, small, "q3_k_m")
    return exact, small


@pytest.fixture(scope="module")
def measured(paths: tuple[Path, Path]) -> tuple[Windows, Divergence]:
    text = shared("text/wikitext-2.test.txt").read_text(encoding="utf-8")[:40_000]
    config = LoadConfig(n_ctx=N_CTX)
    with load_model(paths[0], config) as exact, load_model(paths[1], config) as small:
        ids = encode_text(exact.tokenizer, text)
        windows = cut_windows(exact.tokenizer, ids, WindowConfig(N_CTX, limit=N_WINDOWS))
        with Baseline(exact, windows) as base:
            return windows, compare(small, windows, base)


def test_the_same_figures(paths: tuple[Path, Path], measured: tuple[Windows, Divergence]) -> None:
    windows, found = measured
    assert len(windows) == N_WINDOWS
    base, small = (peer_logs(path, windows) for path in paths)
    targets = np.concatenate([window.ids[-window.n_scored :] for window in windows])
    at = np.arange(len(targets))
    theirs = [float(np.exp(-logs[at, targets].mean())) for logs in (base, small)]
    kl = float((np.exp(base) * (base - small)).sum(axis=1).mean())
    mine = [found.base_perplexity.value, found.perplexity.perplexity.value]
    print(f"perplexity {mine} here, {theirs} there; KL {found.kl.value} here, {kl} there")
    assert mine == pytest.approx(theirs, rel=1e-3)
    assert found.kl.value == pytest.approx(kl, rel=0.02)
