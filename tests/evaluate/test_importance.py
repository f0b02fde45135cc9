"""Importance matrices of models that read a text."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from families import write_family
from gguf_craft import tiny_llama
from numpy.typing import NDArray
from tiny_llama import TinyLlama, write_tiny_llama

from pyllama_rt.config import LoadConfig
from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.engine.load import Model
from pyllama_rt.errors import ConfigError, FormatError, NumericsError
from pyllama_rt.evaluate.importance import _correlations, collect_importance
from pyllama_rt.quant.importance import ImportanceMatrix, write_importance

TEXT = "".join(np.random.default_rng(3).choice(list("abcdefghijklm "), 330))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyLlama:
    return write_tiny_llama(tmp_path_factory.mktemp("m") / "f32.gguf")


def equal(a: ImportanceMatrix, b: ImportanceMatrix) -> bool:
    return list(a.tensors) == list(b.tensors) and all(
        np.array_equal(a.tensors[name].sums, b.tensors[name].sums)
        and np.array_equal(a.tensors[name].counts, b.tensors[name].counts)
        for name in a.tensors
    )


def known(matrix: ImportanceMatrix, name: str) -> NDArray[np.float32]:
    found = matrix.correlations(name)
    assert found is not None, name
    return found


def first_input(tiny: TinyLlama, ids: list[int]) -> NDArray[np.float64]:
    """What enters the first layer's attention."""
    rows = tiny.weights["token_embd.weight"][ids].astype(np.float64)
    rows /= np.sqrt((rows**2).mean(axis=1, keepdims=True) + tiny.config.norm_eps)
    rows *= tiny.weights["blk.0.attn_norm.weight"]
    return rows


def cosines(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.zeros((rows.shape[1], 256))
    for begin in range(0, rows.shape[1], 256):
        part = rows[:, begin : begin + 256]
        part = part / np.sqrt((part**2).sum(axis=0))
        found[begin : begin + 256, : part.shape[1]] = part.T @ part
    return found


def test_the_first_input_is_that_of_numpy(tiny: TinyLlama) -> None:
    matrix = collect_importance(tiny.path, TEXT, n_ctx=100, dataset="a.txt")
    assert (matrix.chunk_count, matrix.chunk_size) == (3, 100)
    assert matrix.datasets == ("a.txt",)
    pieces = {piece: i for i, piece in enumerate("abcdefghijklm", 260)}
    ids = [1, 259, *(pieces.get(c, 259) for c in TEXT)][:300]
    ids[100] = ids[200] = 1  # a window begins with BOS
    rows = first_input(tiny, ids)
    for name in ("blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"):
        found = matrix.tensors[name]
        assert found.counts.tolist() == [300]
        np.testing.assert_allclose(found.sums[0], (rows**2).sum(axis=0), rtol=1e-5)
        np.testing.assert_allclose(known(matrix, name), cosines(rows), atol=3e-4)


def test_every_matrix_of_a_layer_is_there(tiny: TinyLlama) -> None:
    matrix = collect_importance(tiny.path, TEXT, n_ctx=64, n_windows=2)
    wanted = {
        name: w.shape[-1]
        for name, w in tiny.weights.items()
        if name.startswith("blk.") and w.ndim == 2
    }
    assert {name: found.sums.shape[1] for name, found in matrix.tensors.items()} == wanted
    assert {int(found.counts[0]) for found in matrix.tensors.values()} == {128}
    assert matrix.chunk_count == 2


def test_correlations_are_shared_as_inputs_are(tiny: TinyLlama) -> None:
    matrix = collect_importance(tiny.path, TEXT, n_ctx=64, n_windows=2)
    arrays = {name: id(found.correlations) for name, found in matrix.tensors.items()}
    assert {known(matrix, name).shape[1] for name in arrays} == {256}
    for layer in range(2):
        q, k, v, gate, up = (
            arrays[f"blk.{layer}.{name}.weight"]
            for name in ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up")
        )
        assert q == k == v
        assert gate == up
    assert len(set(arrays.values())) == 2 * 4


def test_correlations_may_be_left_out(tiny: TinyLlama) -> None:
    matrix = collect_importance(tiny.path, TEXT, n_ctx=64)
    bare = collect_importance(tiny.path, TEXT, n_ctx=64, correlations=False)
    assert equal(matrix, bare)
    assert all(matrix.has_correlations(name) for name in matrix.tensors)
    assert not any(bare.has_correlations(name) for name in bare.tensors)


def test_a_weight_that_is_used_twice() -> None:
    """Its products are those of both inputs; a weight that reads one of them keeps its own."""
    x, y = (np.random.default_rng(seed).standard_normal((20, 6)) for seed in (1, 2))
    moments = [np.zeros((6, 256), np.float32) for _ in range(2)]
    for products, rows in zip(moments, (x, y), strict=True):
        products[:, :6] = rows.T @ rows
    program = SimpleNamespace(inputs=lambda: [["v", "w"], ["w"]], moments=lambda i: moments[i])
    found = _correlations(cast("Model", SimpleNamespace(program=program)), ["v", "w"])
    np.testing.assert_allclose(found["v"], cosines(x), atol=3e-4)
    np.testing.assert_allclose(found["w"], cosines(np.concatenate([x, y])), atol=3e-4)


def test_correlations_do_not_depend_on_threads(tiny: TinyLlama) -> None:
    wanted = collect_importance(tiny.path, TEXT, n_ctx=150, n_threads=1)
    for n_threads in (2, 3):
        found = collect_importance(tiny.path, TEXT, n_ctx=150, n_threads=n_threads)
        for name in wanted.tensors:
            assert np.array_equal(known(found, name), known(wanted, name)), name


def test_threads_and_steps_change_no_bit(tiny: TinyLlama, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = collect_importance(tiny.path, TEXT, n_ctx=150, n_threads=1)
    for n_threads in (2, 3):
        assert equal(collect_importance(tiny.path, TEXT, n_ctx=150, n_threads=n_threads), wanted)
    small_steps = partial(LoadConfig, n_batch=7)
    monkeypatch.setattr("pyllama_rt.evaluate.importance.LoadConfig", small_steps)
    assert equal(collect_importance(tiny.path, TEXT, n_ctx=150), wanted)


def test_quantised_models_stay_on_the_fast_path(tiny: TinyLlama, tmp_path: Path) -> None:
    exact = collect_importance(tiny.path, TEXT, n_ctx=100)
    q8 = collect_importance(write_tiny_llama(tmp_path / "q8.gguf", "q8_0").path, TEXT, n_ctx=100)
    name = "blk.1.ffn_down.weight"
    assert not np.array_equal(q8.of(name), exact.of(name))
    np.testing.assert_allclose(q8.of(name), exact.of(name), rtol=0.1)


@pytest.mark.parametrize(("tied", "head"), [(False, "output"), (True, "token_embd")])
def test_the_head_if_asked_for(tied: bool, head: str, tmp_path: Path) -> None:
    path = write_tiny_llama(tmp_path / "m.gguf", tied=tied).path
    without = collect_importance(path, TEXT, n_ctx=64, n_windows=2)
    matrix = collect_importance(path, TEXT, n_ctx=64, n_windows=2, process_output=True)
    assert set(matrix.tensors) - set(without.tensors) == {f"{head}.weight"}
    assert matrix.tensors[f"{head}.weight"].counts.tolist() == [128]


def convert(family: str, folder: Path) -> Path:
    convert_checkpoint(write_family(family, folder / "hf"), folder / "m.gguf")
    return folder / "m.gguf"


def test_experts_are_counted_apart(tmp_path: Path) -> None:
    matrix = collect_importance(convert("qwen3moe", tmp_path), TEXT, n_ctx=64, n_windows=2)
    for kind in ("gate", "up", "down"):
        found = matrix.tensors[f"blk.1.ffn_{kind}_exps.weight"]
        assert found.sums.shape == (6, 32 if kind == "down" else 64)
        assert found.counts.sum() == 128 * 3
        assert (found.counts <= 128).all()
        assert not matrix.has_correlations(f"blk.1.ffn_{kind}_exps.weight")
    assert matrix.tensors["blk.1.ffn_gate_inp.weight"].counts.tolist() == [128]
    assert known(matrix, "blk.1.ffn_gate_inp.weight").shape == (64, 256)


@pytest.mark.parametrize("family", ["bert", "gemma3", "phi3", "gpt2"])
def test_other_families(family: str, tmp_path: Path) -> None:
    matrix = collect_importance(convert(family, tmp_path), TEXT, n_ctx=32, n_windows=2)
    assert len(matrix.tensors) >= 8
    assert {int(found.counts[0]) for found in matrix.tensors.values()} == {64}


def test_progress_is_told(tiny: TinyLlama) -> None:
    told: list[tuple[int, int]] = []
    collect_importance(
        tiny.path, TEXT, n_ctx=100, progress=lambda n_done, n_all: told.append((n_done, n_all))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("bad", ["blk.0.attn_norm", "blk.0.attn_v", "blk.0.ffn_up"])
def test_damaged_weights_are_told_by_what_they_reach(bad: str, tmp_path: Path) -> None:
    craft = tiny_llama()
    tensor = craft.tensor(f"{bad}.weight")
    tensor.data = np.full(1, np.nan, "<f4").tobytes() + tensor.data[4:]
    (tmp_path / "m.gguf").write_bytes(craft.build())
    reached = {"blk.0.attn_norm": "attn_q", "blk.0.attn_v": "attn_output"}.get(bad, "ffn_down")
    with pytest.raises(NumericsError, match=rf"m\.gguf: .*'blk\.0\.{reached}\.weight'.*--verify"):
        collect_importance(tmp_path / "m.gguf", "abc" * 50, n_ctx=16)


def test_what_cannot_be_read_is_refused(tiny: TinyLlama, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the text has 332 tokens; expected at least 400"):
        collect_importance(tiny.path, TEXT, n_ctx=400)
    with pytest.raises(ConfigError):
        collect_importance(tiny.path, TEXT, n_ctx=0)
    with pytest.raises(ConfigError):
        collect_importance(tiny.path, TEXT, n_windows=0)
    write_importance(tmp_path / "i.gguf", collect_importance(tiny.path, TEXT, n_ctx=100))
    with pytest.raises(FormatError, match="expected a model, found 'imatrix'; it is for"):
        collect_importance(tmp_path / "i.gguf", TEXT)
