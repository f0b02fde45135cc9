"""The file of cases: what it covers, and that its exact cases are exact."""

from __future__ import annotations

from pathlib import Path

import kernel_cases
import numpy as np
from kernel_cases import BLOCK_TYPES, EXACT, HALVES

from pyllama_rt import _core
from pyllama_rt.formats.tensor_types import WEIGHT_TYPES
from pyllama_rt.graph.ops import OPS
from pyllama_rt.quant import dequantize


def test_every_op_and_weight_type_has_cases() -> None:
    cases = list(kernel_cases.all_cases())
    ops = {node.op for case in cases for node in case.op.graph.nodes}
    assert ops == set(OPS)
    groups = {case.name.split(":")[0] for case in cases}
    assert groups >= {f"linear {kind}" for kind in WEIGHT_TYPES}
    assert groups >= {f"integers {kind}" for kind in BLOCK_TYPES}
    assert len({case.name for case in cases}) == len(cases)


def test_this_machine_passes_every_exact_case() -> None:
    for case in kernel_cases.all_cases():
        if case.largest_nmse == EXACT:
            expected = case.expected()
            assert np.abs(expected).max() < 2**24 or case.name.startswith(("add", "activations"))
            for isa in filter(_core.isa_supported, _core.isa_names()):
                assert np.array_equal(case.op.run(isa), expected), (case.name, isa)


def test_the_identity_and_the_scales_of_blocks_are_what_they_should_be() -> None:
    for kind in ("q8_0", "q6_k"):
        rows = kernel_cases.identity(kind, 512)
        assert np.array_equal(dequantize(rows, kind, (512, 512)), np.eye(512)), kind
    assert set(HALVES) == set(BLOCK_TYPES)
    for kind in BLOCK_TYPES:
        values = dequantize(kernel_cases.random_blocks(kind, 3, 512, 0), kind, (3, 512))
        assert np.array_equal(values, np.rint(values)), kind
        assert len(np.unique(values)) > 5, kind


def test_the_file_is_the_same_each_time(tmp_path: Path) -> None:
    assert kernel_cases.write_cases(tmp_path / "a") == kernel_cases.write_cases(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes().startswith(b"plrt-cases 1\ncase linear f32: ")
