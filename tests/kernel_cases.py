"""Writes what the NumPy twins compute to a file, for CPUs on which there is no Python to compare.

usage: kernel_cases.py FILE

The C++ runner `plrt_cases FILE` runs every case of the file on every instruction set of its CPU;
tests/csrc/cases/case_file.h describes the format. Most cases allow the rounding of float sums;
those that have integer results, and all quantised activations, allow none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from family_ops import all_family_ops
from numpy.typing import NDArray
from one_op import Floats, OneOp, normal, one_attention, one_linear

from pyllama_rt.formats.tensor_types import TENSOR_TYPES, WEIGHT_TYPES
from pyllama_rt.graph.builder import GraphBuilder, Value
from pyllama_rt.quant import dequantize

ROUNDING = 1e-11  # float sums in another order; the kernels' own bound is 1e-7
EXACT = 0.0
BLOCK_TYPES = [name for name in WEIGHT_TYPES if TENSOR_TYPES[name].is_quantized]

# Rows of activations by rows of weights: one, few, whole panels and tiles, one more and one less.
SHAPES = [(1, 1), (1, 7), (1, 64), (2, 16), (3, 33), (5, 4), (8, 16), (9, 17), (17, 31), (33, 5)]
WIDE_SHAPES = [(9, 48), (37, 80)]  # several panels, many columns

# Where the f16 numbers of a block lie, and what they are set to: scale 1, minimum -3.
HALVES: dict[str, dict[int, float]] = {
    "q4_0": {0: 1}, "q4_1": {0: 1, 2: -3}, "q5_0": {0: 1}, "q5_1": {0: 1, 2: -3}, "q8_0": {0: 1},
    "q2_k": {80: 1, 82: 1}, "q3_k": {108: 1}, "q4_k": {0: 1, 2: 1}, "q5_k": {0: 1, 2: 1},
    "q6_k": {208: 1}, "iq4_nl": {0: 1}, "iq4_xs": {0: 1},
}  # fmt: skip


class Case(NamedTuple):
    """One op with its twin's result; `kv` is the type of the cache."""

    name: str
    op: OneOp
    largest_nmse: float = ROUNDING
    kv: str = "f32"

    def expected(self) -> Floats:
        return self.op.twin(self.kv)

    def write(self, file: BinaryIO) -> None:
        graph = self.op.graph.to_text().encode()
        expected = np.ascontiguousarray(self.expected(), "<f4")
        file.write(f"case {self.name}\nlargest_nmse {self.largest_nmse!r}\n".encode())
        file.write(f"cache {self.kv}\ngraph {len(graph)}\n".encode() + graph)
        for name, kind, n_rows, n_cols, data in self.op.tensors():
            file.write(f"weight {name} {kind} {n_rows} {n_cols}\n".encode() + data)
        file.write(f"expected {len(expected)} {expected.shape[1]}\n".encode())
        file.write(expected.tobytes())


def lengths(kind: str) -> list[int]:
    """Numbers of elements that a row may have; odd numbers of blocks among them."""
    found = TENSOR_TYPES[kind]
    if not found.is_quantized:
        return [1, 15, 33, 172]
    return [32, 96, 320] if found.block_size == 32 else [256, 768]


def linears() -> Iterator[Case]:
    for kind in WEIGHT_TYPES:
        for i, (rows, width) in enumerate([*SHAPES, *WIDE_SHAPES]):
            k = lengths(kind)[i % len(lengths(kind))]
            op = one_linear(kind, rows, width, k, bias=i % 3 == 1)
            yield Case(f"linear {kind}: {rows} x {width} x {k}", op)


def random_blocks(kind: str, rows: int, k: int, seed: int) -> NDArray[np.uint8]:
    """Every bit at random but those of the f16 numbers."""
    found = TENSOR_TYPES[kind]
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (rows, k // found.block_size, found.block_bytes), np.uint8)
    for offset, value in HALVES[kind].items():
        blocks[:, :, offset : offset + 2] = np.array([value], "<f2").view(np.uint8)
    return blocks.reshape(rows, -1)


def linear_of_blocks(kind: str, x: Floats, blocks: NDArray[np.uint8]) -> OneOp:
    width, k = len(blocks), x.shape[1]
    values = dequantize(blocks, kind, (width, k))
    return OneOp([x], lambda g, v: g.linear(v[0], "w", width), {"w": (values, kind)}, {"w": blocks})


def whole_numbers(rows: int, k: int, seed: int) -> Floats:
    """Activations that are their own int8 codes: the largest of a block is 127, its scale 1."""
    x = np.random.default_rng(seed).integers(-127, 128, (rows, k)).astype(np.float32)
    x[:, ::32] = np.where(x[:, ::32] < 0, -127, 127)
    return x


def exact_linears() -> Iterator[Case]:
    """All in whole numbers below 2^24, so that nothing is rounded anywhere."""
    for kind in BLOCK_TYPES:
        for i, (rows, width) in enumerate(SHAPES):
            k = lengths(kind)[i % len(lengths(kind))]
            x = whole_numbers(rows, k, i)
            op = linear_of_blocks(kind, x, random_blocks(kind, width, k, i))
            yield Case(f"integers {kind}: {rows} x {width} x {k}", op, EXACT)


def extreme_linears() -> Iterator[Case]:
    """The largest codes, sub-scales and activations: narrow sums must not overflow."""
    for kind in BLOCK_TYPES:
        k = lengths(kind)[-1]
        blocks = random_blocks(kind, 8, k, 0)
        constant = np.zeros_like(blocks, bool)
        for offset in HALVES[kind]:
            at = np.arange(offset, blocks.shape[1], TENSOR_TYPES[kind].block_bytes)
            constant[:, at] = constant[:, at + 1] = True
        filling = np.array([0, 0x7F, 0x80, 0xFF, 0x0F, 0xF0, 0x3F, 0x55], np.uint8)
        blocks = np.where(constant, blocks, filling[:, None])
        x = np.sign(normal((33, k))) * np.float32(127)
        x[0], x[1], x[2, ::2], x[2, 1::2] = 127, -127, 127, -127
        yield Case(f"extremes {kind}: {k}", linear_of_blocks(kind, x, blocks))


def identity(kind: str, k: int) -> NDArray[np.uint8]:
    """Blocks of the k x k identity matrix."""
    assert kind in ("q8_0", "q6_k")
    rows = np.zeros(
        (k, k // TENSOR_TYPES[kind].block_size, TENSOR_TYPES[kind].block_bytes), np.uint8
    )
    diagonal = np.arange(k)
    if kind == "q8_0":
        rows[:, :, 0:2] = np.ones(1, "<f2").view(np.uint8)
        rows[diagonal, diagonal // 32, 2 + diagonal % 32] = 1
    else:  # the code of 0 is 32, that of 1 is 33; sub-scales are 1
        rows[:, :, 128:192] = 0b10101010
        rows[:, :, 192:208] = 1
        rows[:, :, 208:210] = np.ones(1, "<f2").view(np.uint8)
        half, at = diagonal % 256 // 128, diagonal % 128
        byte = 64 * half + at % 64
        rows[diagonal, diagonal // 256, byte] = np.where(at < 64, 1, 16)
    return rows.reshape(k, -1)


def quantised_activations() -> Iterator[Case]:
    """Activations times the identity are what their int8 codes stand for, rounded once."""
    for kind in ("q8_0", "q6_k"):
        block, k = TENSOR_TYPES[kind].block_size, 512
        x = normal((12, k), 7)
        x[1] *= np.float32(1e30)
        x[2] *= np.float32(1e-35)  # counts as zero
        x[3] = whole_numbers(1, k, 3)[0]
        x[4] = np.clip(whole_numbers(1, k, 4)[0] + 0.5, -127, 127)  # ties go to the even code
        x[4, ::32] = 127
        x[5] = 0
        x[6, ::3] = 0
        x[7] *= np.float32(10) ** np.linspace(-30, 30, k, dtype=np.float32)
        yield Case(
            f"activations: blocks of {block}", linear_of_blocks(kind, x, identity(kind, k)), EXACT
        )


def row_ops() -> Iterator[Case]:
    for width in (1, 3, 15, 16, 17, 31, 64, 172, 1000):
        weights = {"w": (normal((width,), 1), "f32")}
        x = normal((4, width)) * np.array([[1], [1e-3], [1e3], [30]], np.float32)
        op = OneOp([x], lambda g, v: g.rms_norm(v[0], "w", 1e-5), weights)
        yield Case(f"rms_norm: {width}", op)
        gate = 20 * normal((6, width))
        gate[0], gate[1], gate[2] = -200, 200, 0  # exp overflows, vanishes, is one
        op = OneOp([gate, normal((6, width), 1)], lambda g, v: g.silu_mul(v[0], v[1]), {})
        yield Case(f"silu_mul: {width}", op)
        op = OneOp([normal((3, width)), normal((3, width), 1)], lambda g, v: g.add(v[0], v[1]), {})
        yield Case(f"add: {width}", op, EXACT)


def frequencies(dims: int) -> list[float]:
    return [0.5 * 10000.0 ** (-2 * i / dims) for i in range(dims // 2)]


def one_rope(pairing: str, head_dim: int, dims: int) -> OneOp:
    def build(g: GraphBuilder, v: list[Value]) -> Value:
        table = g.rope_table(frequencies(dims), "factors", 1.25)
        return g.rope(v[0], table, n_heads=3, head_dim=head_dim, pairing=pairing)

    factors = np.linspace(1, 4, dims // 2, dtype=np.float32)
    return OneOp([normal((70, 3 * head_dim))], build, {"factors": (factors, "f32")})


def heads() -> Iterator[Case]:
    for pairing in ("interleaved", "half"):
        for head_dim, dims in ((8, 8), (24, 6), (64, 32)):
            name = f"rope: {pairing}, {dims} of {head_dim}"
            yield Case(name, one_rope(pairing, head_dim, dims))
    for kv in ("f32", "f16"):
        for head_dim, n_rows in ((1, 3), (8, 5), (24, 64), (64, 65), (80, 130), (128, 17)):
            op = one_attention(head_dim, n_rows)
            yield Case(f"attention {kv}: {n_rows} rows, heads of {head_dim}", op, kv=kv)


def family_ops() -> Iterator[Case]:
    for name, op in all_family_ops():
        # Of two roundings to int8 or bfloat16 the second may fall the other way in the twin.
        is_rounded_twice = name.startswith("experts") and "f32" not in name
        yield Case(name, op, 1e-4 if is_rounded_twice else ROUNDING)


def all_cases() -> Iterator[Case]:
    parts = (
        linears, exact_linears, extreme_linears, quantised_activations, row_ops, heads, family_ops,
    )  # fmt: skip
    for part in parts:
        yield from part()


def write_cases(path: Path) -> int:
    """Writes the file; returns the number of cases."""
    n = 0
    with path.open("wb") as file:
        file.write(b"plrt-cases 1\n")
        for n, case in enumerate(all_cases(), 1):  # noqa: B007 - the count is the result
            case.write(file)
    return n


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    path = Path(sys.argv[1])
    print(f"{path}: {write_cases(path)} cases, {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
