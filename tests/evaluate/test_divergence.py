"""Divergence from a base against the plainest computation from the same logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scored_models import IDS, N_CTX, plain_logs, write_damaged, write_pair
from tiny_llama import write_tiny_llama

from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.config import LoadConfig
from pyllama_rt.engine.load import Model, load_model
from pyllama_rt.errors import ConfigError, NumericsError, ResourceError, StateError
from pyllama_rt.evaluate.baseline import Baseline
from pyllama_rt.evaluate.divergence import Divergence, compare
from pyllama_rt.evaluate.windows import WindowConfig, Windows, cut_windows

CONFIG = LoadConfig(n_ctx=N_CTX)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_pair(tmp_path_factory.mktemp("models"))


def windows_of(model: Model) -> Windows:
    return cut_windows(model.tokenizer, IDS, WindowConfig(N_CTX))


def check_matches_logs(
    found: Divergence, windows: Windows, base: Model, model: Model, rel: float
) -> None:
    """Every figure, from the logits of the two."""
    base_logs, targets = plain_logs(base, windows)
    logs, _ = plain_logs(model, windows)
    at = np.arange(len(targets))
    kl = (np.exp(base_logs) * (base_logs - logs)).sum(axis=1)
    ours, theirs = logs[at, targets], base_logs[at, targets]
    delta_p = np.exp(ours) - np.exp(theirs)
    root = np.sqrt(len(at))

    def same(value: float, expected: float) -> None:
        assert value == pytest.approx(expected, rel=rel, abs=1e-9)

    same(found.kl.value, kl.mean())
    same(found.kl.error, kl.std(ddof=1) / root)
    for percent, value in found.kl_percentiles.items():
        same(value, np.percentile(kl, percent))
    same_top = logs.argmax(axis=1) == base_logs.argmax(axis=1)
    assert found.same_top.value == same_top.mean()
    share = same_top.mean()
    same(found.same_top.error, np.sqrt(share * (1 - share) / (len(at) - 1)))
    same(found.delta_p.value, delta_p.mean())
    same(found.delta_p.error, delta_p.std(ddof=1) / root)
    same(found.delta_p_rms, np.sqrt((delta_p**2).mean()))
    for percent, value in found.delta_p_percentiles.items():
        same(value, np.percentile(delta_p, percent))
    same(found.perplexity.perplexity.value, np.exp(-ours.mean()))
    same(found.base_perplexity.value, np.exp(-theirs.mean()))
    same(found.ratio.value, np.exp((theirs - ours).mean()))
    same(found.ratio.error, found.ratio.value * (theirs - ours).std(ddof=1) / root)


def test_every_figure(pair: tuple[Path, Path]) -> None:
    with load_model(pair[0], CONFIG) as exact, load_model(pair[1], CONFIG) as small:
        windows = windows_of(exact)
        with Baseline(exact, windows) as base:
            steps: list[int] = []
            found = compare(small, windows, base, progress=lambda n, *_: steps.append(n))
        check_matches_logs(found, windows, exact, small, 1e-6)
    assert base.perplexity.perplexity == pytest.approx(found.base_perplexity)
    assert found.kl.value > 0.001
    assert 0 < found.same_top.value < 1
    assert steps == [1, 2, 3, 4]


def test_a_model_does_not_diverge_from_itself(pair: tuple[Path, Path]) -> None:
    with load_model(pair[0], CONFIG) as model:
        windows = windows_of(model)
        with Baseline(model, windows) as base:
            found = compare(model, windows, base)
    assert abs(found.kl_percentiles[100]) < 1e-12
    assert found.same_top.value == 1
    assert found.delta_p_rms == 0
    assert found.ratio.value == 1


def test_fewer_windows_than_the_base_has(pair: tuple[Path, Path]) -> None:
    with load_model(pair[0], CONFIG) as exact, load_model(pair[1], CONFIG) as small:
        few = cut_windows(exact.tokenizer, IDS, WindowConfig(N_CTX, limit=2))
        with Baseline(exact, windows_of(exact)) as base, Baseline(exact, few) as short:
            assert compare(small, few, base).kl == compare(small, few, short).kl
            with pytest.raises(ConfigError, match="14 scored tokens; expected at least 28"):
                compare(small, windows_of(exact), short)


def test_another_vocabulary(pair: tuple[Path, Path]) -> None:
    with load_model(pair[0], CONFIG) as exact, load_model(DEMO_MODEL, CONFIG) as other:
        windows = windows_of(exact)
        with Baseline(exact, windows) as base, pytest.raises(ConfigError, match=r"4096 .* 273"):
            compare(other, windows, base)


def test_a_failed_base_closes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = (tmp_path / "base").open("w+b")
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: file)
    damaged = write_damaged(tmp_path / "m.gguf", "token_embd.weight")
    with load_model(damaged, CONFIG) as model:
        # The first piece, whose row holds the NaN, comes in the last window only.
        windows = cut_windows(model.tokenizer, [*IDS[:60], 0, 0, 0, 0], WindowConfig(N_CTX))
        with pytest.raises(NumericsError):
            Baseline(model, windows)
    assert file.closed
    assert (tmp_path / "base").stat().st_size > 0


def test_a_closed_base(pair: tuple[Path, Path]) -> None:
    with load_model(pair[0], CONFIG) as model:
        base = Baseline(model, windows_of(model))
    base.close()
    base.close()
    with pytest.raises(StateError, match="closed"):
        base.rows(0, np.zeros(1, np.int64))


def test_a_full_disk(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: object) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    with (
        load_model(pair[0], CONFIG) as model,
        pytest.raises(ResourceError, match="No space left"),
    ):
        Baseline(model, windows_of(model))


def test_a_base_of_one_row_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyllama_rt.evaluate.scored_rows._BLOCK_ELEMENTS", 1)
    exact, small = (write_tiny_llama(tmp_path / f"{t}.gguf", t).path for t in ("f32", "q8_0"))
    with load_model(exact, CONFIG) as base_model, load_model(small, CONFIG) as model:
        windows = windows_of(model)
        with Baseline(base_model, windows) as base:
            check_matches_logs(compare(model, windows, base), windows, base_model, model, 1e-5)
