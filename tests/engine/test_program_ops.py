"""Every op of the compiled side against its NumPy twin, on every instruction set of this CPU.

One op, one graph: one_op.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from one_op import Floats, OneOp, normal, one_attention, one_linear

from pyllama_rt import _core
from pyllama_rt.config import KV_TYPES
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, WEIGHT_TYPES
from pyllama_rt.graph.builder import GraphBuilder, Value
from pyllama_rt.quant import quantize

ISAS = [name for name in _core.isa_names() if _core.isa_supported(name)]


def nmse(got: Floats, wanted: Floats) -> float:
    difference = got.astype(np.float64) - wanted
    return float((difference**2).sum() / (wanted.astype(np.float64) ** 2).sum())


def test_each_instruction_set_runs_under_its_own_name() -> None:
    assert ISAS[-1] == "scalar"
    for isa in ISAS:
        op = one_linear("f32", 1, 4, 16)
        row = [("in0", "f32", 1, 16, memoryview(bytes(64)), 0)]
        row += [("w", "f32", 4, 16, memoryview(bytes(256)), 0)]
        assert _core.Program(op.graph.to_text(), row, isa).backend == f"cpu-{isa}"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", WEIGHT_TYPES)
@pytest.mark.parametrize(("rows", "width"), [(1, 7), (3, 64), (17, 5)])
def test_linear(isa: str, kind: str, rows: int, width: int) -> None:
    k = 2 * TENSOR_TYPES[kind].block_size if TENSOR_TYPES[kind].is_quantized else 172
    op = one_linear(kind, rows, width, k)
    assert nmse(op.run(isa), op.twin()) < 1e-12


@pytest.mark.parametrize("kind", WEIGHT_TYPES)
@pytest.mark.parametrize(("rows", "width"), [(5, 33), (37, 80)])
def test_linear_gives_the_same_bits_on_every_instruction_set(
    kind: str, rows: int, width: int
) -> None:
    op = one_linear(kind, rows, width, 768)
    results = [op.run(isa) for isa in ISAS]
    for isa, result in zip(ISAS, results, strict=True):
        if TENSOR_TYPES[kind].is_quantized:
            assert np.array_equal(result, results[0]), isa
        assert nmse(result, results[0]) < 1e-13


@pytest.mark.parametrize("isa", ISAS)
def test_linear_with_bias(isa: str) -> None:
    op = one_linear("q4_k", 2, 9, 256, bias=True)
    assert nmse(op.run(isa), op.twin()) < 1e-12


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("width", [1, 15, 16, 172, 256])
def test_rms_norm(isa: str, width: int) -> None:
    op = OneOp(
        [normal((4, width))],
        lambda g, v: g.rms_norm(v[0], "w", 1e-5),
        {"w": (normal((width,), 1), "f32")},
    )
    assert nmse(op.run(isa), op.twin()) < 1e-13


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("width", [1, 31, 64])
def test_silu_mul(isa: str, width: int) -> None:
    gate = 20 * normal((6, width))
    gate[0] = [-200.0] * width  # exp overflows, the result is zero
    gate[1] = [200.0] * width
    op = OneOp([gate, normal((6, width), 1)], lambda g, v: g.silu_mul(v[0], v[1]), {})
    assert nmse(op.run(isa), op.twin()) < 1e-13
    assert (op.run(isa)[0] == 0).all()


@pytest.mark.parametrize("isa", ISAS)
def test_add(isa: str) -> None:
    op = OneOp([normal((3, 37)), normal((3, 37), 1)], lambda g, v: g.add(v[0], v[1]), {})
    assert np.array_equal(op.run(isa), op.twin())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("pairing", ["interleaved", "half"])
@pytest.mark.parametrize(("head_dim", "dims"), [(8, 8), (64, 32)])
def test_rope(isa: str, pairing: str, head_dim: int, dims: int) -> None:
    def build(g: GraphBuilder, v: list[Value]) -> Value:
        frequencies = [0.5 * 10000.0 ** (-2 * i / dims) for i in range(dims // 2)]
        table = g.rope_table(frequencies, "factors", 1.25)
        return g.rope(v[0], table, n_heads=3, head_dim=head_dim, pairing=pairing)

    factors = np.linspace(1, 4, dims // 2, dtype=np.float32)
    op = OneOp([normal((70, 3 * head_dim))], build, {"factors": (factors, "f32")})
    assert nmse(op.run(isa), op.twin()) < 1e-13


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kv", KV_TYPES)
@pytest.mark.parametrize(("head_dim", "n_rows"), [(8, 5), (24, 64), (64, 65), (80, 200)])
def test_attention(isa: str, kv: str, head_dim: int, n_rows: int) -> None:
    op = one_attention(head_dim, n_rows)
    assert nmse(op.run(isa, kv=kv), op.twin(kv)) < 1e-12


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("chunk", [1, 7, 64, 100])
@pytest.mark.parametrize("n_threads", [1, 5])
@pytest.mark.parametrize("kv", ["f16", "q8_0"])
def test_attention_does_not_depend_on_chunks_or_threads(
    isa: str, chunk: int, n_threads: int, kv: str
) -> None:
    op = one_attention(24, 150)
    whole = op.run(isa, n_threads=2, kv=kv)
    assert np.array_equal(op.run(isa, n_threads=n_threads, kv=kv, chunk=chunk), whole)


@pytest.mark.parametrize("kv", KV_TYPES)
def test_attention_gives_the_same_bits_on_every_instruction_set(kv: str) -> None:
    op = one_attention(80, 130)
    fused = [op.run(isa, kv=kv) for isa in ISAS if isa != "scalar"]
    for result in fused:
        assert np.array_equal(result, fused[0])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", ["f32", "q8_0", "q4_k"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_non_finite_activation_is_never_hidden(isa: str, kind: str, bad: float) -> None:
    from pyllama_rt.errors import NumericsError

    op = one_linear(kind, 2, 8, 256)
    op.stored["in0"][0][1, 77] = 0.0
    rows = [
        (name, k, len(v), v.shape[-1], memoryview(quantize(v, k).tobytes()), 0)
        for name, (v, k) in op.stored.items()
    ]
    spoilt = op.stored["in0"][0].copy()
    spoilt[1, 77] = bad
    rows[0] = ("in0", "f32", 2, 256, memoryview(spoilt.tobytes()), 0)
    program = _core.Program(op.graph.to_text(), rows, isa)
    cache = _core.KvCache(program, "f32", 64)
    ids, sequences = np.arange(2), np.full(2, cache.create())
    with pytest.raises(NumericsError, match="position 1"):
        program.step(cache, ids, sequences, np.ones(2, np.uint8), 1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", ["q8_0", "q6_k"])
def test_zero_and_tiny_activations_give_zero(isa: str, kind: str) -> None:
    op = one_linear(kind, 3, 8, 256)
    op.stored["in0"][0][0] = 0.0
    op.stored["in0"][0][1] = 1e-38
    result = op.run(isa)
    assert (result[:2] == 0).all()
    assert nmse(result, op.twin()) < 1e-12
