"""The processes of benchmarks/compare.py: one that works, and ones that die."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from random_model import SHAPE_1B, write_random_llama
from workers import FOLDER, Worker

from pyllama_rt.cli.demo import DEMO_MODEL


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_our_worker_measures_each_time_that_it_is_asked() -> None:
    command = [sys.executable, str(FOLDER / "worker_ours.py"), str(DEMO_MODEL), "16", "4", "1"]
    worker = Worker("ours", command, "scalar")
    assert worker.ready["kernels"] == "cpu-scalar"
    assert worker.ready["is_quantized"] is True
    for _ in range(2):
        found = worker.measure()
        assert found is not None
        assert min(found["prompt"], found["generate"]) > 0
    worker.close()
    assert worker.failure is None


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")
def test_a_worker_that_is_killed_says_by_what() -> None:
    worker = Worker("x", script("import os; os.kill(os.getpid(), 4)"))
    assert worker.failure == "died of SIGILL"
    assert worker.measure() is None
    worker.close()


def test_a_worker_that_ends_says_its_last_words() -> None:
    worker = Worker("x", script("print('{}', flush=True); input(); raise OSError('no luck')"))
    assert worker.failure is None
    assert worker.measure() is None
    assert worker.failure == "OSError: no luck"
    assert worker.measure() is None
    worker.close()


def test_the_random_model_runs(tmp_path: Path) -> None:
    from dataclasses import replace

    from pyllama_rt.engine.load import load_model
    from pyllama_rt.engine.session import Session

    cfg = replace(
        SHAPE_1B, n_layers=1, dim=256, hidden_dim=(256,), n_heads=(4,), n_kv_heads=(2,),
        vocab_size=300,
    )  # fmt: skip
    write_random_llama(tmp_path / "m.gguf", "Q4_K_M", cfg)
    with load_model(tmp_path / "m.gguf") as model, Session(model) as session:
        assert session.eval([1, 2, 299]).shape == (1, 300)
