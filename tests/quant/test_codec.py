"""Blocks against the `gguf` package, encoders against measured errors, odd and bad input."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from pyllama_rt.errors import ConfigError, NumericsError, ShapeError
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, WEIGHT_TYPES
from pyllama_rt.quant import dequantize, quantize

BLOCK_TYPES = [name for name in WEIGHT_TYPES if TENSOR_TYPES[name].is_quantized]
F32 = NDArray[np.float32]

# Relative RMSE in percent on standard normal numbers of the encoders that users compare with
# (llama.cpp without an importance matrix), measured with 256 x 1024 numbers.
PEER_RMSE = {
    "q8_0": 0.537,
    "q6_k": 1.777,
    "q5_k": 3.616,
    "q5_1": 3.786,
    "q5_0": 4.282,
    "q4_k": 7.153,
    "q4_1": 7.831,
    "q4_0": 8.614,
    "iq4_nl": 7.623,
    "iq4_xs": 7.681,
    "q3_k": 15.11,
    "q2_k": 29.70,
}


def normal(*shape: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def round_trip(x: F32, name: str) -> F32:
    return dequantize(quantize(x, name), name, x.shape)


def relative_rmse(x: F32, y: F32) -> float:
    error = np.sum((x.astype(np.float64) - y) ** 2) / np.sum(x.astype(np.float64) ** 2)
    return float(np.sqrt(error))


def by_gguf(blocks: NDArray[np.uint8], name: str) -> F32:
    with np.errstate(all="ignore"):
        decoded = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name.upper()])
    return np.asarray(decoded, np.float32)


@pytest.mark.parametrize("name", WEIGHT_TYPES)
def test_random_blocks_decode_as_in_gguf_package(name: str) -> None:
    found = TENSOR_TYPES[name]
    rng = np.random.default_rng(7)
    blocks = rng.integers(0, 256, (400, 5 * found.block_bytes), dtype=np.uint8)
    ours = dequantize(blocks, name, (400, 5 * found.block_size))
    theirs = by_gguf(blocks, name)
    numbers = ~np.isnan(theirs)
    np.testing.assert_array_equal(numbers, ~np.isnan(ours))
    np.testing.assert_array_equal(ours.view(np.uint32)[numbers], theirs.view(np.uint32)[numbers])


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_subnormal_scales_decode_as_in_gguf_package(name: str) -> None:
    found = TENSOR_TYPES[name]
    rng = np.random.default_rng(8)
    blocks = rng.integers(0, 256, (2000, found.block_bytes), dtype=np.uint8)
    # The f16 numbers are the first or the last fields; their upper byte makes them subnormal.
    for at in (1, 3, found.block_bytes - 1, found.block_bytes - 3):
        blocks[:, at] &= 0x83
    ours = dequantize(blocks, name, (2000, found.block_size))
    theirs = by_gguf(blocks, name)
    assert np.count_nonzero((theirs != 0) & (np.abs(theirs) < 1e-4)) > 1000
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", PEER_RMSE)
def test_error_on_normal_numbers(name: str) -> None:
    x = normal(256, 1024)
    error = 100 * relative_rmse(x, round_trip(x, name))
    print(f"{name}: {error:.3f} %, {error / PEER_RMSE[name]:.3f} of the figure")
    assert error <= PEER_RMSE[name]


@pytest.mark.parametrize("name", ["f32", "f16", "bf16", "q8_0"])
def test_bytes_equal_gguf_package(name: str) -> None:
    x = normal(64, 256, seed=3) * np.float32(0.05)
    theirs = gguf.quants.quantize(x, gguf.GGMLQuantizationType[name.upper()])
    np.testing.assert_array_equal(quantize(x, name), np.ascontiguousarray(theirs).view(np.uint8))


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_zeros_stay_zeros(name: str) -> None:
    assert not round_trip(np.zeros((2, 512), np.float32), name).any()


@pytest.mark.parametrize("name", BLOCK_TYPES)
@pytest.mark.parametrize("value", [1.0, -1.0, 0.03, -700.0])
def test_constant_rows_are_kept(name: str, value: float) -> None:
    x = np.full((2, 512), value, np.float32)
    assert relative_rmse(x, round_trip(x, name)) < 0.005


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_numbers_below_f16_become_zero(name: str) -> None:
    assert not round_trip(normal(2, 512) * np.float32(1e-30), name).any()
    assert not round_trip(np.full((2, 512), 1e-42, np.float32), name).any()


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_small_numbers_survive_subnormal_scales(name: str) -> None:
    x = normal(16, 512) * np.float32(3e-6)
    assert relative_rmse(x, round_trip(x, name)) < max(0.05, PEER_RMSE[name] / 100 * 1.5)


@pytest.mark.parametrize("name", BLOCK_TYPES)
@pytest.mark.parametrize("scale", [1e10, 3e37])
def test_numbers_beyond_f16_scales_are_clipped(name: str, scale: float) -> None:
    y = round_trip(np.clip(normal(4, 512), -3, 3) * np.float32(scale), name)
    assert np.isfinite(y).all()
    assert np.abs(y).max() > 60000


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_one_outlier_keeps_its_value(name: str) -> None:
    x = normal(4, 512)
    x[:, 100] = 1000.0
    y = round_trip(x, name)
    np.testing.assert_allclose(y[:, 100], 1000.0, rtol=0.02)
    # The other sub-blocks do not suffer from it, up to the coarseness of their scales.
    assert np.isfinite(y).all()
    assert np.abs(y - x)[:, 256:].max() < 2.0


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_heavy_tails_and_sparse_blocks(name: str) -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_t(2, (32, 512)).astype(np.float32)
    x[::2, ::3] = 0.0
    x[1] = 0.0
    x[1, 40] = -2.5
    y = round_trip(x, name)
    assert np.isfinite(y).all()
    assert relative_rmse(x, y) < max(0.02, 1.8 * PEER_RMSE[name] / 100)
    assert abs(y[1, 40] + 2.5) < 0.01


@pytest.mark.parametrize("name", ["q4_0", "q5_0", "q8_0"])
def test_numbers_already_on_the_grid_are_kept(name: str) -> None:
    once = round_trip(normal(64, 512), name)
    assert relative_rmse(once, round_trip(once, name)) < 1e-3


@pytest.mark.parametrize("n_threads", [2, 5, 16])
def test_threads_do_not_change_bytes(n_threads: int) -> None:
    x = normal(301, 1024)
    for name in ("q4_k", "q8_0"):
        one = quantize(x, name, n_threads=1)
        many = quantize(x, name, n_threads=n_threads)
        np.testing.assert_array_equal(one, many)
        np.testing.assert_array_equal(
            dequantize(one, name, x.shape, n_threads=1),
            dequantize(one, name, x.shape, n_threads=n_threads),
        )


def test_python_threads_can_share_the_pool() -> None:
    x = normal(64, 1024)
    expected = quantize(x, "q6_k", n_threads=1)
    results: list[NDArray[np.uint8]] = []
    threads = [
        threading.Thread(target=lambda: results.append(quantize(x, "q6_k", n_threads=3)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_child_gets_threads_of_its_own() -> None:
    x = normal(256, 1024)
    expected = quantize(x, "q4_0", n_threads=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn about a fork beside threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            same = [np.array_equal(quantize(x, "q4_0", n_threads=n), expected) for n in (1, 2, 3)]
            code = 0 if all(same) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_any_float_type_order_and_shape() -> None:
    x = normal(3, 4, 64)
    expected = quantize(x, "q5_0")
    assert expected.shape == (3, 4, 44)
    np.testing.assert_array_equal(quantize(x.astype(np.float64), "Q5_0"), expected)
    np.testing.assert_array_equal(quantize(x.astype(">f4"), "q5_0"), expected)
    np.testing.assert_array_equal(quantize(np.asfortranarray(x), "q5_0"), expected)
    np.testing.assert_array_equal(quantize(x[::-1], "q5_0")[::-1], expected)
    np.testing.assert_array_equal(quantize(x[0, 0], "q5_0"), expected[0, 0])
    half = x.astype(np.float16)
    np.testing.assert_array_equal(quantize(half, "q5_0"), quantize(half.astype(np.float32), "q5_0"))


def test_empty_arrays() -> None:
    assert quantize(np.zeros((0, 256), np.float32), "q4_k").shape == (0, 144)
    assert quantize(np.zeros((3, 0), np.float32), "q4_k").shape == (3, 0)
    assert dequantize(b"", "q4_k", (0, 256)).shape == (0, 256)
    assert dequantize(b"", "q4_k", (5, 0, 256)).shape == (5, 0, 256)


def test_data_may_be_any_buffer() -> None:
    x = normal(2, 256)
    blocks = quantize(x, "q3_k")
    expected = dequantize(blocks, "q3_k", x.shape)
    raw = blocks.tobytes()
    shifted = memoryview(b"\0" + raw)[1:]  # odd address
    for data in (raw, bytearray(raw), shifted, blocks.reshape(-1), np.asfortranarray(blocks)):
        np.testing.assert_array_equal(dequantize(data, "q3_k", x.shape), expected)
    assert dequantize(raw, "q3_k", 512).shape == (512,)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", WEIGHT_TYPES)
def test_first_bad_number_is_named(name: str, value: float) -> None:
    x = normal(300, 256)
    x[7, 130] = value
    x[9, 0] = value
    x[250, 3] = value
    with pytest.raises(NumericsError, match="row 7, column 130"):
        quantize(x, name, n_threads=4)


@pytest.mark.parametrize(("name", "value"), [("f16", 65520.0), ("bf16", 3.4e38)])
def test_overflow_of_float_types_is_named(name: str, value: float) -> None:
    x = np.array([[1.0, value]], np.float32)
    with pytest.raises(NumericsError, match="row 0, column 1"):
        quantize(x, name)
    x[0, 1] *= np.float32(0.99)
    assert np.isfinite(round_trip(x, name)).all()


def test_double_beyond_float_is_named() -> None:
    with pytest.raises(NumericsError, match="row 0, column 3"):
        quantize(np.array([0, 0, 0, 1e300]), "f32")


@pytest.mark.parametrize(
    ("x", "name", "error", "text"),
    [
        (np.zeros(64, np.float32), "q4k", ConfigError, "did you mean 'q4_k'"),
        (np.zeros(64, np.float32), "i8", ConfigError, "does not hold weights"),
        (np.zeros(48, np.float32), "q4_0", ShapeError, "multiple of 32.*found 48"),
        (np.zeros((2, 64), np.float32), "q4_k", ShapeError, "multiple of 256.*found 64"),
        (np.zeros(64, np.int32), "q4_0", ShapeError, "float array"),
        (np.zeros(64, np.complex64), "q4_0", ShapeError, "float array"),
        (np.float32(1.0), "q4_0", ShapeError, "one or more dimensions"),
    ],
)
def test_bad_input_of_quantize(x: Any, name: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        quantize(x, name)


@pytest.mark.parametrize(
    ("data", "name", "shape", "error", "text"),
    [
        (bytes(17), "q4_0", (1, 32), ShapeError, "expected 18 bytes.*found 17"),
        (bytes(19), "q4_0", (1, 32), ShapeError, "expected 18 bytes.*found 19"),
        (bytes(18), "q4_0", (1, 33), ShapeError, "multiple of 32"),
        (bytes(18), "q4_0", (-1, 32), ShapeError, "sizes of 0 or more"),
        (bytes(18), "q4_0", (), ShapeError, "one or more sizes"),
        (bytes(18), "q4_0", (1.5, 32), ShapeError, "one or more sizes"),
        (bytes(18), "q4_0", (2**50, 32), ShapeError, "found 18"),
        (bytes(0), "q4_0", (2**61, 0), ShapeError, "sizes"),
        (bytes(0), "q4_0", (2**61, 2**61, 0), ShapeError, "sizes"),
        (np.zeros(9, np.uint16), "q4_0", (1, 32), ShapeError, "u8 array"),
        (memoryview(bytes(36))[::2], "q4_0", (1, 32), ShapeError, "one piece"),
        ("text", "q4_0", (1, 32), ShapeError, "found str"),
        (bytes(18), "q40", (1, 32), ConfigError, "did you mean"),
    ],
)
def test_bad_input_of_dequantize(
    data: Any, name: str, shape: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        dequantize(data, name, shape)


@pytest.mark.parametrize("n_threads", [0, -1, 1025, 2**40])
def test_bad_thread_count(n_threads: int) -> None:
    with pytest.raises(ConfigError, match="n_threads"):
        quantize(np.zeros(32, np.float32), "q4_0", n_threads=n_threads)
