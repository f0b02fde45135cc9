"""What weights are said to lose, beside models that hold them so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from families import write_family
from scored_models import write_damaged
from tiny_llama import TinyLlama, write_tiny_llama

from pyllama_rt.config import LoadConfig
from pyllama_rt.convert import convert_checkpoint, quantize_file
from pyllama_rt.convert.type_options import BLOCK_TYPES, read_type_options
from pyllama_rt.engine.load import load_model
from pyllama_rt.errors import ConfigError, NumericsError
from pyllama_rt.evaluate.baseline import Baseline
from pyllama_rt.evaluate.divergence import compare
from pyllama_rt.evaluate.importance import collect_importance
from pyllama_rt.evaluate.sensitivity import PROBE, measure_losses
from pyllama_rt.evaluate.windows import WindowConfig, cut_windows, encode_text
from pyllama_rt.quant import dequantize, quantize
from pyllama_rt.quant.guidance import guidance_for
from pyllama_rt.quant.importance import ImportanceMatrix, InputSquares

TEXT = "".join(np.random.default_rng(5).choice(list("abcdefghijklm "), 200))
CONFIG = WindowConfig(n_ctx=48, limit=3)
NAMES = ("token_embd.weight", "blk.0.attn_v.weight", "blk.1.ffn_down.weight", "output.weight")
OPTIONS = dict.fromkeys(NAMES, BLOCK_TYPES)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyLlama:
    return write_tiny_llama(tmp_path_factory.mktemp("m") / "f16.gguf", "f16")


@pytest.fixture(scope="module")
def importance(tiny: TinyLlama) -> ImportanceMatrix:
    return collect_importance(tiny.path, TEXT, n_ctx=48)


def divergence_of_file(
    source: Path, types: dict[str, str], out: Path, importance: ImportanceMatrix | None
) -> float:
    """Of a file with these types from the model whose other weights are as stored."""
    others = {n: "f16" for n in read_type_options(source).weights if n not in types}
    quantize_file(source, out, {**others, **types}, importance=importance)
    with load_model(source, LoadConfig(n_ctx=48)) as model:
        windows = cut_windows(model.tokenizer, encode_text(model.tokenizer, TEXT), CONFIG)
        base = Baseline(model, windows)
    with base, load_model(out, LoadConfig(n_ctx=48)) as model:
        return compare(model, windows, base).kl.value


@pytest.mark.parametrize("guided", [False, True])
def test_losses_are_those_of_files(
    guided: bool, tiny: TinyLlama, importance: ImportanceMatrix, tmp_path: Path
) -> None:
    matrix = importance if guided else None
    found = measure_losses(tiny.path, OPTIONS, TEXT, config=CONFIG, importance=matrix)
    assert list(found) == list(NAMES)
    for name in NAMES:
        exact = divergence_of_file(tiny.path, {name: PROBE}, tmp_path / "out.gguf", matrix)
        assert found[name][PROBE] == pytest.approx(exact, rel=1e-9)
        other = divergence_of_file(tiny.path, {name: "q4_k"}, tmp_path / "out.gguf", matrix)
        assert found[name]["q4_k"] == pytest.approx(other, rel=0.4)
        losses = [found[name][type_name] for type_name in ("q2_k", "q3_k", "q4_k", "q6_k", "q8_0")]
        assert losses == sorted(losses, reverse=True)


def test_losses_add_up(tiny: TinyLlama, tmp_path: Path) -> None:
    found = measure_losses(tiny.path, OPTIONS, TEXT, config=CONFIG)
    types = dict.fromkeys(NAMES, "q4_k")
    together = divergence_of_file(tiny.path, types, tmp_path / "out.gguf", None)
    assert sum(found[name]["q4_k"] for name in NAMES) == pytest.approx(together, rel=0.3)


def test_errors_are_weighed_by_what_enters_the_columns(tiny: TinyLlama) -> None:
    name, squares = "blk.0.attn_v.weight", np.ones((1, 256), np.float32)
    squares[0, 7] = 1e4
    matrix = ImportanceMatrix({name: InputSquares(squares, np.ones(1, np.float32))})
    found = measure_losses(tiny.path, {name: BLOCK_TYPES}, TEXT, config=CONFIG, importance=matrix)
    weights = tiny.weights[name].astype(np.float16).astype(np.float32)
    guidance = guidance_for(matrix, name, weights.shape)[0]

    def error(type_name: str) -> float:
        blocks = quantize(weights, type_name, guidance=guidance)
        lost = dequantize(blocks, type_name, weights.shape) - weights
        return float((lost.astype(np.float64) ** 2 * squares).sum())

    for type_name in BLOCK_TYPES:
        ratio = found[name][type_name] / found[name][PROBE]
        assert ratio == pytest.approx(error(type_name) / error(PROBE), rel=1e-6)


def test_weights_as_they_are_lose_nothing(tiny: TinyLlama) -> None:
    calls: list[tuple[int, int, str]] = []
    found = measure_losses(
        tiny.path,
        {"output.weight": ("f16", "q8_0")},
        TEXT,
        config=CONFIG,
        progress=lambda *call: calls.append(call),
    )
    assert found["output.weight"]["f16"] == 0 < found["output.weight"]["q8_0"]
    assert calls == [(1, 2, "the weights as they are"), (2, 2, "output.weight")]


@pytest.mark.parametrize("guided", [False, True])
def test_stacks_of_experts(guided: bool, tmp_path: Path) -> None:
    source = tmp_path / "in.gguf"
    convert_checkpoint(write_family("mixtral", tmp_path / "m"), source)
    matrix = collect_importance(source, TEXT, n_ctx=48) if guided else None
    options = {n: t for n, t in read_type_options(source).weights.items() if "exps" in n}
    assert options
    found = measure_losses(source, options, TEXT, config=CONFIG, importance=matrix)
    for losses in found.values():
        assert losses["q4_0"] > losses["q5_0"] > losses["q8_0"] > 0


def test_a_damaged_weight_is_named(tmp_path: Path) -> None:
    source = write_damaged(tmp_path / "in.gguf", "blk.0.ffn_up.weight")
    with pytest.raises(NumericsError):
        measure_losses(source, OPTIONS, TEXT, config=CONFIG)
    # In the row of a piece that the text does not have, so that the model runs.
    source = write_damaged(tmp_path / "in.gguf", "token_embd.weight", 1e6)
    with pytest.raises(NumericsError, match=r"token_embd\.weight.* f16.*--tensor-type"):
        measure_losses(source, {"token_embd.weight": ["f16"]}, TEXT, config=CONFIG)


def test_a_short_text(tiny: TinyLlama) -> None:
    with pytest.raises(ConfigError, match="one window"):
        measure_losses(tiny.path, OPTIONS, "abc", config=CONFIG)
