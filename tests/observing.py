"""Programs of one op that observe what enters its matrices."""

from __future__ import annotations

import numpy as np
from one_op import Floats, OneOp

from pyllama_rt import _core

ISAS = [name for name in _core.isa_names() if _core.isa_supported(name)]


def run_observing(
    op: OneOp, observe: str, isa: str = "", n_threads: int = 2, chunk: int = 0
) -> tuple[_core.Program, Floats]:
    """A program that has read all rows, `chunk` in a step (0: in one), and its rows."""
    rows = [(*tensor[:4], memoryview(tensor[4]), 0) for tensor in op.tensors()]
    program = _core.Program(op.graph.to_text(), rows, isa, observe)
    cache = _core.KvCache(program, "f32", 4096)
    sequence = cache.create()
    step = chunk or op.n_rows
    outputs = []
    for begin in range(0, op.n_rows, step):
        ids = np.arange(begin, min(begin + step, op.n_rows), dtype=np.int32)
        sequences = np.full(len(ids), sequence, dtype=np.int64)
        outputs.append(program.step(cache, ids, sequences, np.ones(len(ids), np.uint8), n_threads))
    return program, np.concatenate(outputs)
