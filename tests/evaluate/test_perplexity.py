"""Perplexity against the plainest computation from the same logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from families import write_family
from scored_models import IDS, N_CTX, plain_logs, write_damaged
from tiny_llama import write_tiny_llama

from pyllama_rt.config import LoadConfig, RopeConfig
from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.engine.load import load_model
from pyllama_rt.errors import ConfigError, NumericsError, ResourceError
from pyllama_rt.evaluate import scored_rows
from pyllama_rt.evaluate.estimate import exp_mean, mean, perplexity_of
from pyllama_rt.evaluate.perplexity import measure_perplexity
from pyllama_rt.evaluate.windows import WindowConfig, cut_windows


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("m") / "m.gguf", "f32").path


@pytest.mark.parametrize("stride", [None, 1, 6, N_CTX - 1])
def test_the_exponential_of_the_mean_loss(path: Path, stride: int | None) -> None:
    with load_model(path, LoadConfig(n_ctx=N_CTX)) as model:
        windows = cut_windows(model.tokenizer, IDS, WindowConfig(N_CTX, stride))
        steps: list[tuple[int, int, float]] = []
        found = measure_perplexity(model, windows, progress=lambda *step: steps.append(step))
        logs, targets = plain_logs(model, windows)
    losses = -logs[np.arange(len(targets)), targets]
    expected = np.exp(losses.mean())
    assert found.perplexity.value == pytest.approx(expected, rel=1e-12)
    error = expected * losses.std(ddof=1) / np.sqrt(len(losses))
    assert found.perplexity.error == pytest.approx(error, rel=1e-9)
    assert (found.n_tokens, found.n_windows) == (len(targets), len(windows))
    assert [step[:2] for step in steps] == [(i + 1, len(windows)) for i in range(len(windows))]
    assert steps[-1][2] == pytest.approx(expected, rel=1e-12)
    assert found.seconds > 0


def test_the_same_in_any_chunks_and_blocks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for n_batch, elements in ((512, 1 << 17), (3, 1 << 17), (512, 600), (4, 1)):
        monkeypatch.setattr(scored_rows, "_BLOCK_ELEMENTS", elements)
        with load_model(path, LoadConfig(n_ctx=N_CTX, n_batch=n_batch)) as model:
            windows = cut_windows(model.tokenizer, IDS, WindowConfig(N_CTX))
            found.append(measure_perplexity(model, windows).perplexity)
    assert found == [found[0]] * 4


def test_a_stretched_base_is_that_of_the_window(path: Path) -> None:
    # The last id of a window is not read, but it counts for the length.
    config = LoadConfig(n_ctx=4096, rope=RopeConfig("adaptive"))
    ids = [3 + i % 270 for i in range(2100)]
    with load_model(path, config) as model:
        windows = cut_windows(model.tokenizer, ids, WindowConfig(2100, stride=8))
        found = measure_perplexity(model, windows).perplexity
        logs, targets = plain_logs(model, windows)
    expected = exp_mean(-logs[np.arange(8), targets])
    assert found.value == pytest.approx(expected.value, rel=1e-12)


def test_memory_that_is_not_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with load_model(path, LoadConfig(n_ctx=N_CTX)) as model:
        windows = cut_windows(model.tokenizer, IDS, WindowConfig(N_CTX))
        monkeypatch.setattr("pyllama_rt.engine.memory.available_bytes", lambda: 10_000)
        with pytest.raises(ResourceError, match="not enough memory"):
            measure_perplexity(model, windows)


def test_damaged_weights_are_one_error(tmp_path: Path) -> None:
    with load_model(write_damaged(tmp_path / "m.gguf"), LoadConfig(n_ctx=N_CTX)) as model:
        windows = cut_windows(model.tokenizer, IDS, WindowConfig(N_CTX))
        with pytest.raises(NumericsError, match=r"NaN or an infinity.*damaged"):
            measure_perplexity(model, windows)


def test_weights_beyond_any_perplexity(tmp_path: Path) -> None:
    path = write_damaged(tmp_path / "m.gguf", value=1e9)
    with load_model(path, LoadConfig(n_ctx=N_CTX)) as model:
        windows = cut_windows(model.tokenizer, IDS, WindowConfig(N_CTX))
        with pytest.raises(NumericsError, match=r"mean loss is .* damaged"):
            measure_perplexity(model, windows)


def test_a_model_that_gives_vectors(tmp_path: Path) -> None:
    convert_checkpoint(write_family("bert", tmp_path / "bert"), tmp_path / "bert.gguf")
    with load_model(tmp_path / "bert.gguf", LoadConfig(n_ctx=N_CTX)) as model:
        windows = cut_windows(model.tokenizer, [5] * N_CTX, WindowConfig(N_CTX))
        with pytest.raises(ConfigError, match="vectors"):
            measure_perplexity(model, windows)


def test_estimates() -> None:
    values = np.array([1.0, 2.0, 4.0])
    found = mean(values)
    assert found.value == pytest.approx(7 / 3)
    assert found.error == pytest.approx(values.std(ddof=1) / np.sqrt(3))
    assert mean(values[:1]).error == 0
    assert exp_mean(values).error == pytest.approx(np.exp(7 / 3) * found.error)
    with pytest.raises(NumericsError, match="nan nats"):
        perplexity_of(float("nan"))
