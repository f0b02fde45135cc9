"""The demo model on every instruction set of this processor."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pyllama_rt import _core
from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.config import LoadConfig
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session

ISAS = [name for name in _core.isa_names() if _core.isa_supported(name)]
TEXT = "One day, a small fox named Max found a yellow kite on the way to the park. " * 6


def test_instruction_sets_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for isa in ISAS:
        monkeypatch.setenv("PYLLAMA_RT_ISA", isa)
        with load_model(DEMO_MODEL, LoadConfig()) as model, Session(model) as session:
            assert model.program.backend == f"cpu-{isa}"
            ids = model.tokenizer.encode(TEXT)
            found[isa] = session.eval(ids, all_logits=True).astype(np.float64)
    first = _log_softmax(found[ISAS[0]])
    for isa, rows in found.items():
        other = _log_softmax(rows)
        divergence = float((np.exp(first) * (first - other)).sum(axis=1).mean())
        print(f"{isa}: mean KL {divergence:.1e} to {ISAS[0]}")
        assert divergence <= 1e-4
        if isa != "scalar":
            assert np.array_equal(rows, found[ISAS[0]])


def _log_softmax(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = rows - rows.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
