"""A graph around a single op, for comparing the compiled side with the NumPy twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from activation_format import activation_format
from numpy.typing import NDArray

from pyllama_rt import _core
from pyllama_rt.graph import reference
from pyllama_rt.graph.builder import Graph, GraphBuilder, Value
from pyllama_rt.quant import dequantize, quantize

Floats = NDArray[np.float32]
Build = Callable[[GraphBuilder, list[Value]], Value]


def normal(shape: tuple[int, ...], seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class OneOp:
    """A graph that embeds its inputs and applies one op.

    stored: name -> (values, type) of every weight. blocks: the bytes of those weights that are
    not to come from the quantiser.
    """

    def __init__(
        self,
        inputs: list[Floats],
        build: Build,
        weights: dict[str, tuple[Floats, str]],
        blocks: Mapping[str, NDArray[np.uint8]] | None = None,
    ) -> None:
        self.n_rows = len(inputs[0])
        self.stored = {f"in{i}": (x, "f32") for i, x in enumerate(inputs)} | weights
        self.blocks = blocks or {}
        g = GraphBuilder({name: values.shape for name, (values, _) in self.stored.items()})
        values = [g.embed(f"in{i}", *x.shape) for i, x in enumerate(inputs)]
        g.output_rows(build(g, values))
        self.graph: Graph = g.build()

    def tensors(self) -> list[tuple[str, str, int, int, bytes]]:
        """Name, type, rows, columns and bytes of every weight."""
        rows = []
        for name, (values, kind) in self.stored.items():
            data = self.blocks[name] if name in self.blocks else quantize(values, kind)
            n_rows = values.size // values.shape[-1]
            rows.append((name, kind, n_rows, values.shape[-1], data.tobytes()))
        return rows

    def run(self, isa: str, n_threads: int = 2, kv: str = "f32", chunk: int = 0) -> Floats:
        rows = [(*tensor[:4], memoryview(tensor[4]), 0) for tensor in self.tensors()]
        program = _core.Program(self.graph.to_text(), rows, isa)
        cache = _core.KvCache(program, kv, 4096)
        sequence = cache.create()
        outputs = []
        step = chunk or self.n_rows
        for begin in range(0, self.n_rows, step):
            ids = np.arange(begin, min(begin + step, self.n_rows), dtype=np.int32)
            ones = np.ones(len(ids), dtype=np.uint8)
            sequences = np.full(len(ids), sequence, dtype=np.int64)
            outputs.append(program.step(cache, ids, sequences, ones, n_threads))
        return np.concatenate(outputs)

    def twin(self, kv: str = "f32") -> Floats:
        weights = {}
        for name, kind, _, _, data in self.tensors():
            stored = dequantize(data, kind, self.stored[name][0].shape)
            weights[name] = reference.ReferenceWeight(stored, activation_format(kind))
        ids = range(self.n_rows)
        batch = reference.ReferenceBatch(ids, [0] * self.n_rows, [True] * self.n_rows)
        return reference.run(self.graph, weights, batch, reference.ReferenceCache(kv))


def one_linear(kind: str, rows: int, width: int, k: int, bias: bool = False) -> OneOp:
    weights = {"w": (normal((width, k), 1), kind)}
    if bias:
        weights["b"] = (normal((width,), 2), "f32")
    return OneOp(
        [normal((rows, k))],
        lambda g, v: g.linear(v[0], "w", width, "b" if bias else None),
        weights,
    )


def one_attention(head_dim: int, n_rows: int) -> OneOp:
    def build(g: GraphBuilder, v: list[Value]) -> Value:
        return g.attention(
            v[0], v[1], v[2], n_heads=6, n_kv_heads=2, head_dim=head_dim, scale=head_dim**-0.5
        )

    widths = (6 * head_dim, 2 * head_dim, 2 * head_dim)
    inputs = [2 * normal((n_rows, width), i) for i, width in enumerate(widths)]
    return OneOp(inputs, build, {})
