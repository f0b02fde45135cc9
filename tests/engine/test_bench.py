"""What the measuring of a model counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_llama import tiny_config, write_tiny_llama

from pyllama_rt.config import LoadConfig
from pyllama_rt.engine import bench
from pyllama_rt.engine.bench import BenchConfig, Roofline, Speed, bench_model
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.token_work import TokenWork, token_work

WORK = TokenWork(row_macs=100, output_macs=50, weight_bytes=1000, cell_bytes=10, is_quantized=True)


def test_the_work_of_a_token(tmp_path: Path) -> None:
    path = write_tiny_llama(tmp_path / "m.gguf", "q8_0").path
    cfg = tiny_config()
    block = 256 * 256 * 2 + 2 * 256 * 128 + 3 * 256 * 512
    with load_model(path, LoadConfig(kv_type="f32")) as model:
        work = token_work(model)
    assert work.row_macs == cfg.n_layers * block
    assert work.output_macs == cfg.vocab_size * 256
    assert work.weight_bytes == (work.row_macs + work.output_macs) // 32 * 34
    assert work.cell_bytes >= 2 * cfg.n_layers * 128 * 4
    assert work.is_quantized


def test_tied_weights_are_counted_as_the_output_that_they_are(tmp_path: Path) -> None:
    path = write_tiny_llama(tmp_path / "m.gguf", "f32", tied=True).path
    with load_model(path) as model:
        work = token_work(model)
    assert work.output_macs == tiny_config().vocab_size * 256
    assert not work.is_quantized


def speed(kind: str, n_tokens: int, *rates: float) -> Speed:
    return Speed(kind, n_tokens, 7, 1, rates, WORK, Roofline(10_000.0, 4000.0))


def test_the_figures_of_a_prompt() -> None:
    found = speed("prompt", 5, 1.0, 3.0)
    assert found.mean == 2.0
    assert found.spread == pytest.approx(2**0.5)
    assert found.macs_per_second == 2.0 * (5 * 100 + 50) / 5
    assert found.fraction == pytest.approx(220 / 10_000)
    assert found.bytes_per_second is None


def test_the_figures_of_generation() -> None:
    found = speed("generate", 3, 2.0)
    assert found.spread == 0
    # Positions 7, 8 and 9 see 8, 9 and 10 cells.
    assert found.bytes_per_second == 2.0 * (1000 + 10 * 9)
    assert found.fraction == pytest.approx(2180 / 4000)


def test_progress_counts_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "measure_roofline", lambda _: Roofline(1.0, 1.0))
    path = write_tiny_llama(tmp_path / "m.gguf", "q4_0").path
    config = BenchConfig(prompt=4, generate=2, threads=(1, 2), depths=(0, 5), repetitions=2)
    seen: list[tuple[str, int, int]] = []
    speeds = bench_model(path, config, lambda *step: seen.append(step))
    assert len(speeds) == 8
    assert [n_done for _, n_done, _ in seen] == list(range(len(seen)))
    assert {n_all for _, _, n_all in seen} == {len(seen)}
    assert "2 threads, depth 5: generate, 2 of 2" in [label for label, _, _ in seen]


def test_short_memory_leaves_the_bandwidth_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ROOFLINE_SECONDS", 0.01)
    monkeypatch.setattr(bench, "available_bytes", lambda: 1 << 30)
    found = bench.measure_roofline(1)
    assert found.int8_peak > 0
    assert found.read_bandwidth is None
