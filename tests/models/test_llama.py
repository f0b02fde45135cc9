"""LLaMA against its NumPy twin, and against `transformers` through stored logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shared_data import shared
from tiny_llama import tiny_config, write_tiny_llama

from pyllama_rt.config import KV_TYPES, LoadConfig
from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import FormatError
from pyllama_rt.graph import reference
from pyllama_rt.graph.builder import GraphBuilder
from pyllama_rt.models import llama
from pyllama_rt.models.rope import Rope

IDS = [1, 7, 260, 9, 33, 260, 261, 100, 4, 5]


@pytest.mark.parametrize("kind", ["f32", "bf16", "q8_0", "q5_k", "q2_k"])
@pytest.mark.parametrize(("biases", "tied"), [(False, False), (True, True)])
def test_equals_its_twin(tmp_path: Path, kind: str, biases: bool, tied: bool) -> None:
    tiny = write_tiny_llama(tmp_path / "m.gguf", kind, biases=biases, tied=tied)
    batch = reference.ReferenceBatch(IDS, [0] * len(IDS), [True] * len(IDS))
    cache = reference.ReferenceCache()
    wanted = reference.run(tiny.graph(), tiny.reference_weights(), batch, cache)
    with load_model(tiny.path, LoadConfig(kv_type="f32")) as model, Session(model) as session:
        got = session.eval(IDS, all_logits=True)
    # Activations that become int8 or bfloat16 may, on an edge, round the other way in the twin.
    error = float(((got - wanted) ** 2).sum() / (wanted**2).sum())
    assert error < {"f32": 1e-11, "bf16": 1e-5}.get(kind, 1e-4)


def test_rotary_divisors_and_scaling_equal_their_twin(tmp_path: Path) -> None:
    plain = write_tiny_llama(tmp_path / "plain.gguf")
    config = replace(tiny_config(), rope=Rope(64, kind="linear", factor=4.0))
    tiny = write_tiny_llama(tmp_path / "m.gguf", config=config, rope_freqs=True)
    batch = reference.ReferenceBatch(IDS, [0] * len(IDS), [True] * len(IDS))
    cache = reference.ReferenceCache()
    wanted = reference.run(tiny.graph(), tiny.reference_weights(), batch, cache)
    results = []
    for path in (tiny.path, plain.path):
        with load_model(path, LoadConfig(kv_type="f32")) as model, Session(model) as session:
            results.append(session.eval(IDS, all_logits=True))
    assert np.abs(results[0] - wanted).max() < 1e-4
    assert np.abs(results[1] - wanted).max() > 1e-2


def test_the_cache_rounds_to_its_type(tmp_path: Path) -> None:
    tiny = write_tiny_llama(tmp_path / "m.gguf", "f32")
    batch = reference.ReferenceBatch(IDS, [0] * len(IDS), [True] * len(IDS))
    results = {}
    for name in KV_TYPES:
        cache = reference.ReferenceCache(name)
        wanted = reference.run(tiny.graph(), tiny.reference_weights(), batch, cache)
        with load_model(tiny.path, LoadConfig(kv_type=name)) as model, Session(model) as session:
            results[name] = session.eval(IDS, all_logits=True)
        assert np.abs(results[name] - wanted).max() < 1e-3
    assert not np.array_equal(results["f32"], results["f16"])
    assert not np.array_equal(results["f16"], results["q8_0"])


def test_equals_transformers_on_the_demo_model(tmp_path: Path) -> None:
    convert_checkpoint(shared("models/demo"), tmp_path / "m.gguf", outtype="f32")
    stored = np.load(shared("models/demo/reference.npz"))
    config = LoadConfig(kv_type="f32")
    with load_model(tmp_path / "m.gguf", config) as model, Session(model) as session:
        got = session.eval(stored["ids"].tolist(), all_logits=True)
    difference = np.abs(got - stored["logits"]).max()
    print(f"largest difference of a logit: {difference:.1e}")
    assert difference < 1e-3
    assert (got.argmax(axis=1) == stored["logits"].argmax(axis=1)).all()


def test_a_missing_tensor_is_named_with_its_nearest() -> None:
    cfg = tiny_config(dim=32, head_dim=8)
    shapes = {"token_embd.weights": (cfg.vocab_size, 32)}
    with pytest.raises(FormatError, match=r"token_embd.weight' is missing .*token_embd.weights"):
        llama.build(cfg, GraphBuilder(shapes))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_kv_heads", (3, 3)),
        ("norm_eps", 0.0),
        ("norm_eps", float("nan")),
        ("rope", Rope(128)),
        ("head_dim", 0),
        ("vocab_size", 0),
        ("n_ctx_train", 1 << 32),
    ],
)
def test_impossible_numbers_are_refused(field: str, value: object) -> None:
    with pytest.raises(FormatError, match=r"expected .*found"):
        replace(tiny_config(), **{field: value})  # type: ignore[arg-type]
