"""What `measure_quality` finds, against the same work by hand; and what it leaves behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from families import write_family
from scored_models import N_CTX, write_damaged
from tiny_llama import write_tiny_llama

from pyllama_rt.config import LoadConfig
from pyllama_rt.convert import convert_checkpoint, quantize_file, split_file
from pyllama_rt.engine.load import load_model
from pyllama_rt.errors import ConfigError, NumericsError, PyllamaRtError, ResourceError
from pyllama_rt.evaluate.baseline import Baseline
from pyllama_rt.evaluate.divergence import compare
from pyllama_rt.evaluate.quality import QualityConfig, Step, measure_quality
from pyllama_rt.evaluate.windows import WindowConfig, cut_windows, encode_text

TEXT = "abc def ghi jkl mab cde fgh ijk lma bcd " * 3
LEVELS = ("q8_0", "q2_k", "Q4_K", "q4_k_m")


def config(**changes: Any) -> QualityConfig:
    given: dict[str, Any] = {"levels": LEVELS, "windows": WindowConfig(N_CTX), "speed": False}
    return QualityConfig(**{**given, **changes})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("models") / "m.gguf", "f16").path


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, empty."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_the_same_as_by_hand(source: Path, scratch: Path, tmp_path: Path) -> None:
    found = measure_quality(source, TEXT, config())
    assert [row.level for row in found.rows] == ["q2_k", "q4_k_m", "q8_0"]
    with load_model(source, LoadConfig(n_ctx=N_CTX)) as model:
        windows = cut_windows(
            model.tokenizer, encode_text(model.tokenizer, TEXT), WindowConfig(N_CTX)
        )
        base = Baseline(model, windows)
    assert found.windows == windows
    assert found.base.level == "f16"
    assert found.base.n_bytes == source.stat().st_size
    assert 16 < found.base.bits_per_weight < 16.1  # the norms are f32
    assert found.base.perplexity == base.perplexity.perplexity
    assert (found.base.ratio.value, found.base.kl.value, found.base.same_top.value) == (1, 0, 1)
    with base:
        for row in found.rows:
            path = tmp_path / f"{row.level}.gguf"
            plan = quantize_file(source, path, row.level)
            with load_model(path, LoadConfig(n_ctx=N_CTX)) as model:
                expected = compare(model, windows, base)
            assert row.n_bytes == path.stat().st_size
            assert row.bits_per_weight == plan.bits_per_weight
            assert row.perplexity == expected.perplexity.perplexity
            assert (row.ratio, row.kl, row.same_top) == (
                expected.ratio,
                expected.kl,
                expected.same_top,
            )
            assert row.kl_99 == expected.kl_percentiles[99]
            assert row.prompt is row.generate is None
    assert not list(scratch.iterdir())


def test_steps_and_speeds_and_one_file_at_a_time(source: Path, scratch: Path) -> None:
    steps: list[Step] = []
    most = 0

    def progress(step: Step) -> None:
        nonlocal most
        steps.append(step)
        most = max(most, sum(path.is_file() for path in scratch.rglob("*")))

    wanted = config(levels=("q4_0", "q8_0"), speed=True, n_threads=1)
    found = measure_quality(source, TEXT, wanted, progress)
    stages = list(dict.fromkeys((step.level, step.n, step.stage) for step in steps))
    assert stages == [
        ("f16", 1, "scoring"),
        ("f16", 1, "timing"),
        *(
            (level, n, stage)
            for n, level in ((2, "q4_0"), (3, "q8_0"))
            for stage in ("quantising", "scoring", "timing")
        ),
    ]
    assert {step.n_levels for step in steps} == {3}
    assert all(step.n_done <= step.n_all for step in steps)
    assert all((step.perplexity is not None) == (step.stage == "scoring") for step in steps)
    assert most == 1
    assert found.n_threads == 1
    for row in (found.base, *found.rows):
        assert row.prompt is not None
        assert row.generate is not None
        assert min(row.prompt.value, row.generate.value) > 0


@pytest.mark.parametrize("at", ["quantising", "scoring", "timing"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError])
def test_nothing_is_left_behind(
    at: str, error: type[BaseException], source: Path, scratch: Path
) -> None:
    def progress(step: Step) -> None:
        if step.level == "q4_0" and step.stage == at:
            assert list(scratch.iterdir())
            raise error

    with pytest.raises(error):
        measure_quality(source, TEXT, config(levels=("q4_0",), speed=True), progress)
    assert not list(scratch.iterdir())


def test_a_split_model(source: Path, scratch: Path, tmp_path: Path) -> None:
    parts = split_file(source, tmp_path / "part", max_bytes=1 << 20)
    assert len(parts) > 1
    whole = measure_quality(source, TEXT, config(levels=("q4_0",)))
    found = measure_quality(parts[0], TEXT, config(levels=("q4_0",)))
    assert found.base.n_bytes == sum(part.stat().st_size for part in parts)
    assert found.rows[0].kl == whole.rows[0].kl
    assert not list(scratch.iterdir())


def refused(error: type[PyllamaRtError], match: str, source: Path, given: QualityConfig) -> None:
    def progress(_: Step) -> None:
        raise AssertionError("nothing is measured before")

    with pytest.raises(error, match=match):
        measure_quality(source, TEXT, given, progress)


def test_a_quantised_model(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "q8.gguf"
    quantize_file(source, path, "q8_0")
    refused(ConfigError, "--allow-requantize", path, config(levels=("q4_0",)))
    found = measure_quality(path, TEXT, config(levels=("q4_0",), allow_requantize=True))
    assert found.base.level == "q8_0"
    assert found.rows[0].kl.value > 0


def test_a_disk_that_is_too_small(
    source: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def watch(step: Step) -> None:
        sizes.extend(path.stat().st_size for path in scratch.rglob("*.gguf"))
        assert step.n_all

    report = measure_quality(source, TEXT, config(levels=("q4_0", "q8_0")), watch)
    needed = max(sizes) + report.windows.n_tokens * 273 * 4
    for free, short in ((needed + 4096, False), (needed - 4096, True)):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, u=usage: u)
        if short:
            refused(ResourceError, "GiB of room.*TMPDIR", source, config(levels=("q4_0", "q8_0")))
        else:
            measure_quality(source, TEXT, config(levels=("q4_0", "q8_0")))


def test_damaged_weights(tmp_path: Path, scratch: Path) -> None:
    with pytest.raises(NumericsError, match="NaN or an infinity"):
        measure_quality(write_damaged(tmp_path / "m.gguf"), TEXT, config())
    assert not list(scratch.iterdir())


def test_models_and_texts_that_will_not_do(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tokens; expected at least 16"):
        measure_quality(source, "abc", config())
    convert_checkpoint(write_family("bert", tmp_path / "bert"), tmp_path / "bert.gguf")
    refused(ConfigError, "vectors", tmp_path / "bert.gguf", config(levels=("f32",)))
    refused(ConfigError, "cannot open", tmp_path / "missing.gguf", config())


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: config(levels=("q4_k", "q9")), "'q9' is unknown"),
        (lambda: config(levels=()), "at least one type"),
        (lambda: config(n_threads=0), "n_threads"),
    ],
)
def test_impossible_configs(make: Callable[[], QualityConfig], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make()
