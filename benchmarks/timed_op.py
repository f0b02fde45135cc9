"""A compiled graph of one op, to be timed step by step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pyllama_rt import _core
from pyllama_rt.graph.builder import GraphBuilder, Value
from pyllama_rt.quant import quantize

Build = Callable[[GraphBuilder, list[Value]], Value]

ISAS = [name for name in _core.isa_names() if _core.isa_supported(name)]
DISTINCT_ROWS = 128
"""Rows of the inputs that differ; longer inputs repeat them."""


def normal(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    """Random numbers, the same every time."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


class TimedOp:
    """A graph that looks its inputs up in embedding matrices and applies one op.

    The look-up, a copy of each row, is part of the time; so is the check of the output.
    """

    def __init__(
        self, isa: str, widths: list[int], build: Build, weights: dict[str, tuple[int, ...]],
        kind: str = "f32",
    ) -> None:  # fmt: skip
        """Args: widths: of the inputs. weights: shapes by name. kind: type of the matrices."""
        shapes = {f"in{i}": (DISTINCT_ROWS, width) for i, width in enumerate(widths)}
        g = GraphBuilder({**shapes, **weights})
        values = [g.embed(name, *shape) for name, shape in shapes.items()]
        g.output_rows(build(g, values))
        rows = []
        for seed, (name, shape) in enumerate({**shapes, **weights}.items()):
            type_ = kind if name in weights and len(shape) == 2 else "f32"
            data = memoryview(quantize(normal(shape, seed), type_).tobytes())
            rows.append((name, type_, 1 if len(shape) == 1 else shape[0], shape[-1], data, 0))
        self._program = _core.Program(g.build().to_text(), rows, isa)
        self._cache = _core.KvCache(self._program, "f16", 1 << 20)
        self._sequence = self._cache.create()

    def run(self, n_rows: int, depth: int = 0) -> None:
        """One step on one thread after `depth` positions, which must be in the cache."""
        self._cache.truncate(self._sequence, depth)
        ids = np.arange(n_rows, dtype=np.int32) % DISTINCT_ROWS
        sequences = np.full(n_rows, self._sequence, np.int64)
        wanted = np.zeros(n_rows, np.uint8)
        wanted[-1] = 1
        self._program.step(self._cache, ids, sequences, wanted, 1)
