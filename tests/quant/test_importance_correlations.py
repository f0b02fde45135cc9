"""How columns go together, in memory and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from gguf_craft import F16, Craft, Tensor, text, texts
from numpy.typing import NDArray

from pyllama_rt.errors import FormatError, ShapeError
from pyllama_rt.quant.importance import (
    ImportanceMatrix,
    InputSquares,
    merge,
    read_importance,
    write_importance,
)
from pyllama_rt.quant.importance_correlations import from_products

Q, K, DOWN = "blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.ffn_down.weight"
Array = NDArray[Any]


def inputs(seed: int, n_rows: int = 40, n_cols: int = 300) -> Array:
    """Rows whose columns go together; column 7 never fires."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((n_rows, 5)) @ random.standard_normal((5, n_cols))
    x += random.standard_normal(x.shape)
    x[:, 7] = 0
    return x.astype(np.float32)


def products(x: Array) -> Array:
    """Sums of products within blocks, as a program gives them."""
    found = np.zeros((x.shape[1], 256))
    for begin in range(0, x.shape[1], 256):
        part = x[:, begin : begin + 256].astype(np.float64)
        found[begin : begin + 256, : part.shape[1]] = part.T @ part
    return found.astype(np.float32)


def cosines(x: Array) -> Array:
    """The same by the definition."""
    found = np.zeros((x.shape[1], 256))
    x = x.astype(np.float64)
    for j in range(x.shape[1]):
        for k in range(j // 256 * 256, min(j // 256 * 256 + 256, x.shape[1])):
            length = np.linalg.norm(x[:, j]) * np.linalg.norm(x[:, k])
            found[j, k % 256] = x[:, j] @ x[:, k] / length if length else float(j == k)
    return found


def squares(x: Array, correlations: Array | None) -> InputSquares:
    sums = (x.astype(np.float64) ** 2).sum(axis=0, keepdims=True).astype(np.float32)
    return InputSquares(sums, np.array([len(x)], np.float32), correlations)


def of(x: Array) -> InputSquares:
    return squares(x, from_products(products(x)))


def known(matrix: ImportanceMatrix, name: str) -> Array:
    found = matrix.correlations(name)
    assert found is not None
    return found


def example(seed: int = 1) -> ImportanceMatrix:
    """Two matrices that read the same, and one that reads something else."""
    x, y = inputs(seed), inputs(seed + 100, n_cols=64)
    shared = of(x)
    return ImportanceMatrix({Q: shared, K: shared, DOWN: of(y)})


def craft() -> Craft:
    """A file of two matrices of 6 columns that read the same."""
    found = np.zeros((6, 256), "<f2")
    found[:, :6] = 0.25
    found[np.arange(6), np.arange(6)] = 1
    tensors = [Tensor(K + ".in_corr", [256, 6], found.tobytes(), F16)]
    for name in (Q, K):
        tensors.append(Tensor.f32(name + ".in_sum2", np.ones(6, np.float32)))
        tensors.append(Tensor.f32(name + ".counts", np.ones(1, np.float32)))
    keys: dict[str | bytes, list[bytes]] = {"general.type": text("imatrix")}
    keys[SAME] = texts([f"{Q}={K}"])
    return Craft(keys, tensors)


SAME = "pyllama_rt.imatrix.same_input"


def save(folder: Path, data: bytes) -> Path:
    (folder / "x.gguf").write_bytes(data)
    return folder / "x.gguf"


def refusal(path: Path) -> str:
    with pytest.raises(FormatError) as caught:
        read_importance(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 400
    return message


def test_products_become_cosines() -> None:
    x = inputs(1)
    found = from_products(products(x))
    assert found.shape == (300, 256)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, cosines(x), atol=3e-4)
    assert found[7, 7] == 1
    assert np.count_nonzero(found[7]) == 1
    assert not found[256:, 44:].any()


def test_rounding_leaves_cosines_in_bounds() -> None:
    x = np.outer(np.arange(1, 30), np.linspace(1, 2, 300)).astype(np.float32)
    noise = np.random.default_rng(0).uniform(0.99, 1.01, (300, 256))
    found = from_products((products(x) * noise).astype(np.float32))
    assert found.max() == 1
    faint = from_products(products(x * np.float32(1e-22)))  # squares are denormal
    assert np.array_equal(faint[:256], np.eye(256))


def test_there_and_back(tmp_path: Path) -> None:
    wanted = example()
    write_importance(tmp_path / "a.gguf", wanted)
    found = read_importance(tmp_path / "a.gguf")
    for name in (Q, K, DOWN):
        assert known(found, name).dtype == np.float32
        assert np.array_equal(known(found, name), known(wanted, name))
    assert found.tensors[Q].correlations is found.tensors[K].correlations
    assert found.correlations("absent") is None
    write_importance(tmp_path / "b.gguf", found)
    assert (tmp_path / "b.gguf").read_bytes() == (tmp_path / "a.gguf").read_bytes()


def test_another_reader_finds_what_was_written(tmp_path: Path) -> None:
    write_importance(tmp_path / "a.gguf", example())
    reader = GGUFReader(tmp_path / "a.gguf")
    shapes = {t.name: (t.tensor_type.name, t.shape.tolist()) for t in reader.tensors}
    assert [name for name in shapes if name.endswith(".in_corr")] == [
        K + ".in_corr",
        DOWN + ".in_corr",
    ]
    assert shapes[K + ".in_corr"] == ("F16", [256, 300])
    assert shapes[DOWN + ".in_corr"] == ("F16", [256, 64])
    assert reader.fields[SAME].contents() == [f"{Q}={K}"]


def test_files_without_correlations_do_not_change(tmp_path: Path) -> None:
    bare = {name: squares(inputs(1), None) for name in (Q, K)}
    write_importance(tmp_path / "a.gguf", ImportanceMatrix(bare))
    reader = GGUFReader(tmp_path / "a.gguf")
    assert SAME not in reader.fields
    assert len(reader.tensors) == 4
    assert read_importance(tmp_path / "a.gguf").correlations(Q) is None


def test_names_that_an_entry_could_not_hold(tmp_path: Path) -> None:
    shared = example().tensors[Q]
    write_importance(tmp_path / "a.gguf", ImportanceMatrix(dict.fromkeys(("a", "b=", "c"), shared)))
    found = read_importance(tmp_path / "a.gguf")
    for name in ("a", "b=", "c"):
        assert np.array_equal(known(found, name), known(ImportanceMatrix({Q: shared}), Q))
    assert found.tensors["a"].correlations is found.tensors["c"].correlations
    shared_by = {"b=": shared, "c": shared}
    write_importance(tmp_path / "b.gguf", ImportanceMatrix(shared_by))
    found = read_importance(tmp_path / "b.gguf")
    assert found.tensors["b="].correlations is found.tensors["c"].correlations


def test_merging_is_reading_on() -> None:
    a, b, c = inputs(1), inputs(2, 90) * np.float32(3), inputs(3, 10)
    c[:, 7] = 5  # what never fired now does, in one text
    both = merge([ImportanceMatrix({Q: (s := of(x)), K: s}) for x in (a, b, c)])
    wanted = cosines(np.concatenate([a, b, c]))
    np.testing.assert_allclose(known(both, Q), wanted, atol=1e-3)
    assert both.tensors[Q].correlations is both.tensors[K].correlations


def test_merging_needs_all() -> None:
    a = example()
    b = ImportanceMatrix({Q: squares(inputs(2), None), K: of(inputs(2))})
    both = merge([a, b])
    assert both.correlations(Q) is None
    assert both.correlations(K) is not None
    assert both.tensors[DOWN] is a.tensors[DOWN]


def test_correlations_of_other_columns_are_refused() -> None:
    whole = example().tensors[Q]
    others: list[Array] = [
        np.zeros((299, 256), np.float16),
        np.zeros((300, 300), np.float16),
        np.zeros((300, 256), np.float32),
    ]
    for found in others:
        with pytest.raises(ShapeError, match=r"correlations: expected one matrix and \[300, 256\]"):
            InputSquares(whole.sums, whole.counts, found)
    with pytest.raises(ShapeError, match="found 2 and"):
        InputSquares(np.ones((2, 300), np.float32), np.ones(2, np.float32), whole.correlations)


def test_the_crafted_file_is_read(tmp_path: Path) -> None:
    found = known(read_importance(save(tmp_path, craft().build())), Q)
    assert np.array_equal(found[:, :6], 0.75 * np.eye(6) + 0.25)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.02, -1.02, 0.5])
@pytest.mark.parametrize("at", [(2, 3), (2, 2), (0, 6), (5, 255)])
def test_numbers_that_are_no_cosines(at: tuple[int, int], bad: float, tmp_path: Path) -> None:
    spoilt = craft()
    tensor = spoilt.tensor(K + ".in_corr")
    values = np.frombuffer(tensor.data, "<f2").reshape(6, 256).copy()
    values[at] = bad
    tensor.data = values.tobytes()
    message = refusal(save(tmp_path, spoilt.build()))
    assert f"tensor '{K}.in_corr': expected cosines" in message
    assert f" at {list(at)}; make the importance matrix anew" in message


@pytest.mark.parametrize("bad", [1.02, -1.02, np.inf])
def test_cosines_that_are_too_large_both_ways(bad: float, tmp_path: Path) -> None:
    spoilt = craft()
    tensor = spoilt.tensor(K + ".in_corr")
    values = np.frombuffer(tensor.data, "<f2").reshape(6, 256).copy()
    values[1, 4] = values[4, 1] = bad
    tensor.data = values.tobytes()
    assert " at [1, 4]; make" in refusal(save(tmp_path, spoilt.build()))


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def change(tensor: Tensor, name: str, dims: list[int], kind: int, n_bytes: int) -> None:
        tensor.name, tensor.dims, tensor.type, tensor.data = name, dims, kind, bytes(n_bytes)

    for name, dims, kind, n_bytes, reason in (
        ("x.in_corr", [256, 6], F16, 3072, "'x.in_corr': expected correlations of a weight whose"),
        (K + ".in_corr", [256, 6], 0, 6144, "expected type f16, found f32"),
        (K + ".in_corr", [256, 5], F16, 2560, "expected shape [6, 256] for 1 x 6 columns, found"),
        (K + ".in_corr", [6, 256], F16, 3072, "expected shape [6, 256] for 1 x 6 columns, found"),
        (K + ".in_corr", [256, 3, 2], F16, 3072, "found [2, 3, 256]"),
    ):
        spoilt = craft()
        change(spoilt.tensor(K + ".in_corr"), name, dims, kind, n_bytes)
        assert reason in refusal(save(tmp_path, spoilt.build()))
    stack = craft()
    change(stack.tensor(K + ".in_sum2"), K + ".in_sum2", [3, 2], 0, 24)
    change(stack.tensor(K + ".counts"), K + ".counts", [1, 2], 0, 8)
    change(stack.tensor(K + ".in_corr"), K + ".in_corr", [256, 3], F16, 1536)
    assert "expected no correlations for 2 x 3 columns" in refusal(save(tmp_path, stack.build()))


@pytest.mark.parametrize(
    "entries",
    [
        [Q],
        [f"{Q}="],
        [f"={K}"],
        [f"{Q}={Q}"],
        [f"{K}={Q}"],
        [f"{Q}={K}"] * 2,
        [f"{Q}=x"],
        [f"x={K}"],
        [f"{Q}={K}={K}"],
        [f"{K}={K}"],
    ],
)
def test_entries_that_lie_are_refused(entries: list[str], tmp_path: Path) -> None:
    spoilt = craft()
    spoilt.keys[SAME] = texts(entries)
    assert f"{SAME}: expected a weight without" in refusal(save(tmp_path, spoilt.build()))


def test_inputs_of_another_width_are_not_the_same(tmp_path: Path) -> None:
    spoilt = craft()
    sums = spoilt.tensor(Q + ".in_sum2")
    sums.dims, sums.data = [5], bytes(20)
    assert f"{SAME}: expected" in refusal(save(tmp_path, spoilt.build()))
    spoilt.keys[SAME] = text("x")
    assert SAME in refusal(save(tmp_path, spoilt.build()))


def test_no_prefix_of_a_file_is_taken(tmp_path: Path) -> None:
    whole = craft().build()
    for n in range(0, len(whole), 7):
        refusal(save(tmp_path, whole[:n]))
