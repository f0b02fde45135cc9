"""Rotary positions that a user asks for instead of the file's."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_llama import PIECES, tiny_config, write_tiny_llama

from pyllama_rt.config import LoadConfig, RopeConfig, SamplingConfig
from pyllama_rt.engine.generate import generate_text
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Logits, Session
from pyllama_rt.errors import ConfigError
from pyllama_rt.graph import reference
from pyllama_rt.models.rope import Rope, adaptive_alpha, ntk_base, overridden

TRAINED = 32
IDS = [3 + i * 37 % (len(PIECES) - 3) for i in range(150)]


def model_file(folder: Path) -> Path:
    keys: dict[str, object] = {"llama.context_length": TRAINED}
    return write_tiny_llama(folder / "m.gguf", more_keys=keys).path


def rows(path: Path, rope: RopeConfig, ids: list[int], planned: int = 0) -> Logits:
    config = LoadConfig(n_ctx=256, kv_type="f32", rope=rope)
    with load_model(path, config) as model, Session(model) as session:
        if planned:
            session.expect(planned)
        return session.eval(ids, all_logits=True)


def test_alphas() -> None:
    assert adaptive_alpha(32, 32) == 1.0
    assert adaptive_alpha(64, 32) == 3.0
    assert adaptive_alpha(64, 32, 1.1) == pytest.approx(3.3)
    assert adaptive_alpha(33, 32, 0.5) == 1.0
    # The slowest pair turns alpha times as slowly, the fastest as it did.
    dims = 8
    slow = ntk_base(10000.0, 4.0, dims) ** (-(dims - 2) / dims)
    assert slow == pytest.approx(10000.0 ** (-(dims - 2) / dims) / 4)


def test_an_adaptive_base_equals_a_fixed_one_for_the_same_length(tmp_path: Path) -> None:
    path, alpha = model_file(tmp_path), adaptive_alpha(100, TRAINED)
    adaptive = rows(path, RopeConfig("adaptive"), IDS[:100], planned=100)
    fixed = rows(path, RopeConfig("ntk", alpha), IDS[:100])
    assert np.abs(adaptive - fixed).max() < 1e-3
    assert np.abs(adaptive - rows(path, RopeConfig(), IDS[:100])).max() > 1e-1
    short = rows(path, RopeConfig("adaptive"), IDS[:20], planned=TRAINED)
    assert np.array_equal(short, rows(path, RopeConfig(), IDS[:20]))


def test_an_adaptive_base_equals_its_twin(tmp_path: Path) -> None:
    tiny = write_tiny_llama(tmp_path / "m.gguf", more_keys={"llama.context_length": TRAINED})
    alpha = adaptive_alpha(60, TRAINED)
    wanted = []
    for ids in (IDS[:60],):
        batch = reference.ReferenceBatch(ids, [0] * 60, [True] * 60, {0: alpha})
        cache = reference.ReferenceCache()
        wanted = [reference.run(tiny.graph(), tiny.reference_weights(), batch, cache)]
    got = rows(tiny.path, RopeConfig("adaptive"), IDS[:60], planned=60)
    assert np.abs(got - wanted[0]).max() < 1e-3


def test_a_text_that_outgrows_its_length_is_read_again(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    config = LoadConfig(n_ctx=256, kv_type="f32", rope=RopeConfig("adaptive"))
    with load_model(path, config) as model, Session(model) as session:
        session.expect(40)
        session.eval(IDS[:40])
        last = session.eval(IDS[40:90])[-1]  # more than 40: its length counts, rounded up
        session.truncate(0)
        short = session.eval(IDS[:20])[-1]
        resumed = session.resume(IDS[:90])
    whole = rows(path, RopeConfig("adaptive"), IDS[:90])
    assert np.array_equal(last, whole[-1])
    assert np.array_equal(resumed, whole[-1])
    assert np.array_equal(short, rows(path, RopeConfig(), IDS[:20])[-1])
    rounded = rows(path, RopeConfig("ntk", adaptive_alpha(256, TRAINED)), IDS[:90])
    assert np.abs(whole - rounded).max() < 1e-3


def test_a_text_that_another_one_interrupts(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    config = LoadConfig(n_ctx=256, kv_type="f32", rope=RopeConfig("adaptive"))
    sampling = SamplingConfig(temperature=0.0)
    with load_model(path, config) as model, Session(model) as session:
        prompts = ([1, *IDS[:30]], [1, *IDS[50:120]])
        alone = [
            [t.id for chunk in generate_text(session, prompt, sampling, max_tokens=20)
             for t in chunk.tokens]
            for prompt in prompts
        ]  # fmt: skip
        streams = [generate_text(session, p, sampling, max_tokens=20) for p in prompts]
        found: list[list[int]] = [[], []]
        for chunks in zip_longest(*streams):
            for i, chunk in enumerate(chunks):
                found[i] += [t.id for t in chunk.tokens] if chunk is not None else []
    assert found == alone


class Interrupted:
    """A step that works so many times."""

    def __init__(self, step: Callable[..., Any], n_steps: int) -> None:
        self.step, self.n_left = step, n_steps

    def __call__(self, *given: Any, **named: Any) -> Any:
        if self.n_left == 0:
            raise KeyboardInterrupt
        self.n_left -= 1
        return self.step(*given, **named)


def test_an_interrupt_while_a_text_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model_file(tmp_path)
    config = LoadConfig(n_ctx=256, n_batch=16, kv_type="f32", rope=RopeConfig("adaptive"))
    whole = rows(path, RopeConfig("adaptive"), IDS[:60])
    for n_steps in range(4):
        with load_model(path, config) as model, Session(model) as session:
            session.eval(IDS[:30])
            with monkeypatch.context() as patch:
                patch.setattr(session, "_step", Interrupted(session._step, n_steps))
                with pytest.raises(KeyboardInterrupt):
                    session.eval(IDS[30:60])
            n_read = len(session.tokens) + len(session._unread)
            last = session.eval(IDS[n_read:60])[-1]
        assert np.array_equal(last, whole[-1]), n_steps


def test_what_came_before_does_not_matter(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    config = LoadConfig(n_ctx=256, kv_type="f32", rope=RopeConfig("adaptive"))
    sampling = SamplingConfig(temperature=0.0)

    def text(session: Session, n: int) -> list[int]:
        chunks = generate_text(session, [1, *IDS[:30]], sampling, max_tokens=n)
        return [token.id for chunk in chunks for token in chunk.tokens]

    with load_model(path, config) as model:
        with Session(model) as session:
            alone = text(session, 20)
        with Session(model) as session:
            text(session, 120)
            assert text(session, 20) == alone


@pytest.mark.parametrize(
    ("config", "frequencies", "magnitude"),
    [
        (RopeConfig("none"), Rope(8), 1.0),
        (RopeConfig("linear", 4.0), Rope(8, kind="linear", factor=4.0), 1.0),
        (RopeConfig(base=500.0), Rope(8, 500.0, "linear", 2.0), 1.0),
        (RopeConfig("ntk", 2.0), Rope(8, ntk_base(10000.0, 2.0, 8)), 1.0),
        (RopeConfig("adaptive"), Rope(8, kind="linear", factor=2.0), 1.0),
        (
            RopeConfig("yarn", 4.0),
            Rope(8, kind="yarn", factor=4.0, n_ctx_original=100),
            0.1 * np.log(4.0) + 1,
        ),
    ],
)
def test_what_replaces_the_files_own(
    config: RopeConfig, frequencies: Rope, magnitude: float
) -> None:
    found = overridden(Rope(8, kind="linear", factor=2.0), config, 100)
    assert found.frequencies() == frequencies.frequencies()
    assert found.full_magnitude() == pytest.approx(magnitude)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "yarm"}, "did you mean 'yarn'"),
        ({"kind": "linear", "factor": 0.5}, "rope factor: expected a number from 1"),
        ({"kind": "linear", "factor": float("nan")}, "rope factor"),
        ({"base": -1.0}, "rope base"),
        ({"n_ctx_original": 0}, "n_ctx_original"),
    ],
)
def test_impossible_choices(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RopeConfig(**values)


def test_choices_as_text() -> None:
    assert RopeConfig.parse("yarn:4") == RopeConfig("yarn", 4.0)
    assert RopeConfig.parse("adaptive") == RopeConfig("adaptive")
    for text in ("yarn:x", "yarn:", "4", "linear", "ntk"):
        with pytest.raises(ConfigError, match="rope"):
            RopeConfig.parse(text)


def test_learned_positions_cannot_be_stretched(tmp_path: Path) -> None:
    from families import write_family

    from pyllama_rt.convert import convert_checkpoint

    convert_checkpoint(write_family("gpt2", tmp_path / "m"), tmp_path / "m.gguf")
    with pytest.raises(ConfigError, match="learned positions"):
        load_model(tmp_path / "m.gguf", LoadConfig(rope=RopeConfig("yarn", 2.0)))


def test_positions_of_the_tiny_model_turn_whole_heads() -> None:
    rope = tiny_config().rope
    assert rope is not None
    assert rope.dims == tiny_config().head_dim
