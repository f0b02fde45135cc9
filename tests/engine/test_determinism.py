"""Contract C3: a result never depends on threads, chunks, neighbours or cache hits."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_llama import write_tiny_llama

from pyllama_rt import _core
from pyllama_rt.config import LoadConfig, SamplingConfig
from pyllama_rt.engine.generate import generate_text
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session

PROMPT = [1, *np.random.default_rng(5).integers(3, 270, 599).tolist()]
KINDS = ("f32", "f16", "bf16", "q8_0", "q2_k", "q3_k", "q4_k", "q6_k", "q4_1")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tiny")
    return {kind: write_tiny_llama(folder / f"{kind}.gguf", kind).path for kind in KINDS}


def text_and_logits(
    path: Path, n_threads: int, chunk: int, prompt: list[int] = PROMPT
) -> tuple[str, NDArray[np.float32]]:
    config = LoadConfig(n_ctx=1024, n_threads=n_threads, n_batch=chunk)
    with load_model(path, config) as model, Session(model) as session:
        logits = session.eval(prompt, all_logits=True)
        sampling = SamplingConfig(temperature=1.0, seed=7)
        chunks = generate_text(session, prompt, sampling, max_tokens=12)
        return "".join(chunk.text for chunk in chunks), logits


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_chunks(models: dict[str, Path], kind: str) -> None:
    text, logits = text_and_logits(models[kind], 1, 512)
    for n_threads, chunk in ((1, 1), (2, 7), (5, 64), (16, 512), (2, 512)):
        other_text, other = text_and_logits(models[kind], n_threads, chunk)
        assert np.array_equal(other, logits), (n_threads, chunk)
        assert other_text == text


def test_every_number_of_threads_with_every_chunk(models: dict[str, Path]) -> None:
    prompt = PROMPT[:150]
    wanted_text, wanted = text_and_logits(models["q4_k"], 1, 512, prompt)
    for n_threads, chunk in product((1, 2, 5, 16), (1, 7, 64, 512)):
        text, logits = text_and_logits(models["q4_k"], n_threads, chunk, prompt)
        assert np.array_equal(logits, wanted), (n_threads, chunk)
        assert text == wanted_text


@pytest.mark.parametrize("kind", ["q4_k", "f16"])
def test_neighbours_in_a_batch(models: dict[str, Path], kind: str) -> None:
    with load_model(models[kind], LoadConfig(n_ctx=4096)) as model:
        with Session(model) as alone:
            wanted = alone.eval(PROMPT[:70], all_logits=True)
        cache = model.new_cache()
        mine, other = cache.create(), cache.create()
        rng = np.random.default_rng(1)
        rows = []
        for begin in range(0, 70, 10):
            noise = rng.integers(0, 270, 13)
            ids = np.concatenate([noise, PROMPT[begin : begin + 10]]).astype(np.int32)
            sequences = np.array([other] * 13 + [mine] * 10)
            flags = np.array([0] * 13 + [1] * 10, dtype=np.uint8)
            rows.append(model.program.step(cache, ids, sequences, flags, 2))
        assert np.array_equal(np.concatenate(rows), wanted)


def test_forks_and_truncation(models: dict[str, Path]) -> None:
    with load_model(models["q4_k"], LoadConfig(n_ctx=4096)) as model, Session(model) as alone:
        wanted = alone.eval(PROMPT[:100], all_logits=True)
        cache = model.new_cache()
        first = cache.create()

        def step(sequence: int, ids: list[int]) -> NDArray[np.float32]:
            n = len(ids)
            return model.program.step(
                cache, np.array(ids), np.full(n, sequence), np.ones(n, np.uint8), 2
            )

        step(first, PROMPT[:90])
        second = cache.fork(first, 70)
        step(second, [5] * 40)  # writes into a copy of the shared page
        third = cache.fork(first, 70)
        assert np.array_equal(step(third, PROMPT[70:100]), wanted[70:])
        cache.truncate(second, 70)
        assert np.array_equal(step(second, PROMPT[70:100]), wanted[70:])
        assert np.array_equal(step(first, PROMPT[90:100]), wanted[90:])


def test_a_kept_prefix_changes_nothing(models: dict[str, Path]) -> None:
    with load_model(models["q8_0"], LoadConfig(n_ctx=1024)) as model, Session(model) as session:
        cold = session.resume(PROMPT[:200])
        session.resume([*PROMPT[:150], 9, 8, 7])
        assert np.array_equal(session.resume(PROMPT[:200]), cold)
        assert session.tokens == PROMPT[:200]


@pytest.mark.parametrize("kind", KINDS)
def test_every_instruction_set_of_this_cpu_agrees(
    models: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = {}
    for isa in _core.isa_names():
        if _core.isa_supported(isa):
            monkeypatch.setenv("PYLLAMA_RT_ISA", isa)
            with load_model(models[kind]) as model, Session(model) as session:
                results[isa] = session.eval(PROMPT[:20], all_logits=True)
    scalar = results.pop("scalar")
    for isa, result in results.items():
        assert np.array_equal(result, next(iter(results.values()))), isa
        # The scalar set has no fused multiply-add: its way through double differs in rare ties.
        np.testing.assert_allclose(result, scalar, atol=1e-3)
