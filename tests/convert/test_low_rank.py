from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pyllama_rt.convert import lazy_tensor
from pyllama_rt.convert.lazy_tensor import LazyTensor
from pyllama_rt.convert.low_rank import F32, Factor, LowRank, MergedTensor, nth
from pyllama_rt.errors import NumericsError
from pyllama_rt.formats.tensor_types import tensor_type
from pyllama_rt.quant import dequantize, quantize

Floats = NDArray[np.float32]


def lazy(array: Floats, name: str = "t", type_name: str = "f32") -> LazyTensor:
    data = memoryview(quantize(array, type_name).tobytes())
    return LazyTensor(name, array.shape, tensor_type(type_name), data, name)


def random(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def merged(base: LazyTensor, *deltas: LowRank, target: str = "f32") -> Floats:
    tensor = MergedTensor("t", base.shape, base.type, base, deltas)
    chunks = list(tensor.encoded(tensor_type(target), 1))
    return dequantize(np.concatenate([c.reshape(-1) for c in chunks]), target, base.shape)


@pytest.mark.parametrize("chunk", [1, 40, 100, 1 << 22])
@pytest.mark.parametrize("is_split", [False, True])
def test_stacks_are_merged_part_by_part(
    is_split: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy_tensor, "CHUNK_ELEMENTS", chunk)
    base, left, right = random(3, 5, 8), random(3, 5, 2, seed=1), random(3, 2, 8, seed=2)
    pair = LowRank(Factor(lazy(left)), Factor(lazy(right)), 0.5, "adapter")
    stack = lazy(base)
    if is_split:
        first, *rest = map(lazy, base)
        stack = replace(first, shape=base.shape, rest=tuple(rest))
    deltas = [(pair.part(0),), (), (pair.part(2), pair.part(2))]
    first_part, *others = [
        MergedTensor("t", (5, 8), stack.type, nth(stack, i), deltas[i]) for i in range(3)
    ]
    tensor = replace(first_part, shape=base.shape, rest=tuple(others))
    chunks = [c.reshape(-1) for c in tensor.encoded(F32, 1)]
    found = np.concatenate(chunks).view("<f4").reshape(base.shape)
    times = np.array([1, 0, 2], np.float32).reshape(3, 1, 1)
    assert np.abs(found - (base + 0.5 * times * (left @ right))).max() < 1e-5
    assert pair.part(1).shape == (5, 8)
    assert pair.part(1).rank == 2


def test_swapped_factors_and_rows_in_another_order() -> None:
    base, left, right = random(6, 8), random(2, 6, seed=1), random(8, 2, seed=2)
    order = np.array([5, 3, 1, 0, 2, 4])
    delta = LowRank(
        Factor(lazy(left), True), Factor(lazy(right), True), 2.0, "adapter", order=order
    )
    expected = base + 2 * (left.T @ right.T)[order]
    assert np.abs(merged(lazy(base), delta) - expected).max() < 1e-5
    assert delta.left.swapped() == Factor(delta.left.tensor)
    assert delta.left.swapped().shape == (2, 6)


def test_sums_are_in_single_precision_whatever_is_stored() -> None:
    base, left, right = random(4, 32), random(4, 2, seed=1), random(2, 32, seed=2)
    delta = LowRank(Factor(lazy(left)), Factor(lazy(right, type_name="f16")), 1.0, "adapter")
    half = right.astype(np.float16).astype(np.float32)
    stored = dequantize(quantize(base, "q8_0"), "q8_0", base.shape)
    found = merged(lazy(base, type_name="q8_0"), delta, delta, target="q8_0")
    expected = stored + left @ half + left @ half
    assert np.array_equal(found, dequantize(quantize(expected, "q8_0"), "q8_0", base.shape))


def test_without_deltas_nothing_is_encoded_again() -> None:
    base = lazy(random(4, 32), type_name="q4_0")
    tensor = MergedTensor("t", base.shape, base.type, base)
    assert isinstance(base.data, memoryview)
    assert b"".join(map(bytes, tensor.encoded(base.type, 1))) == bytes(base.data)


def test_sums_that_do_not_fit_name_both_files() -> None:
    base = lazy(np.full((2, 2), 3e38, np.float32), "BASE")
    delta = LowRank(Factor(lazy(np.full((2, 1), 3e38, np.float32))),
                    Factor(lazy(np.ones((1, 2), np.float32))), 1.0, "ADAPTER")  # fmt: skip
    with pytest.raises(NumericsError, match="BASE: with ADAPTER added, weights up to inf"):
        merged(base, delta)
    bad = LowRank(Factor(lazy(np.ones((2, 1), np.float32))),
                  Factor(LazyTensor("b", (1, 2), F32, memoryview(b"\0\0\xc0\x7f" * 2), "FACTOR")),
                  1.0, "ADAPTER")  # fmt: skip
    with pytest.raises(NumericsError, match="FACTOR: expected finite"):
        merged(lazy(np.ones((2, 2), np.float32)), bad)
