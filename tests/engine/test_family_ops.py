"""The ops that only some families use, against their NumPy twins on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from family_ops import CHOICES, all_family_ops, one_expert_mlp, special_attention
from one_op import Floats, OneOp, normal

from pyllama_rt import _core
from pyllama_rt.errors import ContextError, FormatError

ISAS = [name for name in _core.isa_names() if _core.isa_supported(name)]
OPS = dict(all_family_ops())


def nmse(got: Floats, wanted: Floats) -> float:
    difference = got.astype(np.float64) - wanted
    return float((difference**2).sum() / max((wanted.astype(np.float64) ** 2).sum(), 1e-30))


@pytest.mark.parametrize("name", OPS)
def test_equals_its_twin(name: str) -> None:
    op = OPS[name]
    wanted = op.twin()
    # Of two roundings to int8 or bfloat16 the second may fall the other way in the twin.
    limit = 1e-4 if name.startswith("experts") and "f32" not in name else 1e-12
    for isa in ISAS:
        assert nmse(op.run(isa), wanted) < limit, isa


@pytest.mark.parametrize("name", [n for n in OPS if "attention" in n or "experts" in n])
def test_does_not_depend_on_chunks_or_threads(name: str) -> None:
    op = OPS[name]
    if "causal False" in name:
        pytest.skip("rows that see one another stand in one step")
    for isa in ISAS:
        whole = op.run(isa)
        for n_threads, chunk in ((1, 1), (5, 7), (3, 64)):
            got = op.run(isa, n_threads=n_threads, chunk=chunk)
            assert np.array_equal(got, whole), (isa, n_threads, chunk)


@pytest.mark.parametrize("choices", CHOICES)
@pytest.mark.parametrize("kv", ["f16", "q8_0"])
def test_attention_over_other_caches(choices: dict[str, Any], kv: str) -> None:
    op = special_attention(24, 150, **choices)
    for isa in ISAS:
        assert nmse(op.run(isa, kv=kv), op.twin(kv)) < 1e-12, isa


def test_long_windows_split_among_threads() -> None:
    for choices in ({"window": 300}, {"causal": False}):
        op = special_attention(16, 700, **choices)
        whole = op.run("", n_threads=1)
        assert nmse(whole, op.twin()) < 1e-12
        for n_threads in (2, 4):
            assert np.array_equal(op.run("", n_threads=n_threads), whole)
    op = special_attention(16, 700, window=300)
    assert np.array_equal(op.run("", n_threads=4, chunk=699), op.run("", n_threads=1))


def test_equal_bits_on_every_instruction_set() -> None:
    for name, op in OPS.items():
        fused = [op.run(isa) for isa in ISAS if isa != "scalar"]
        for isa, result in zip(ISAS, fused, strict=False):
            if "bf16" not in name:
                assert np.array_equal(result, fused[0]), (name, isa)


def test_positions_beyond_the_table_are_an_error() -> None:
    op = OneOp(
        [normal((9, 8))],
        lambda g, v: g.add(v[0], g.embed_positions("t", 4, 8)),
        {"t": (normal((4, 8)), "f32")},
    )
    with pytest.raises(ContextError, match="has 4 positions"):
        op.run("")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%1 = slice %0 first=3 -> n 2", "columns of its input"),
        ("%1 = slice %0 first=-1 -> n 2", "columns of its input"),
        ("%1 = topk_route %0 n_used=5 -> n 10", "n_used experts"),
        ("%1 = topk_route %0 n_used=2 -> n 3", "n_used experts"),
        ("%1 = topk_route %0 n_used=0 -> n 0", "width from 1"),
        ("%1 = expert_sum %0 %0 n_used=2 -> n 4", "n_used times"),
        ("%1 = gelu %0 -> n 4", "the attribute form"),
        ("%1 = gelu %0 form=soft -> n 4", "expected tanh or erf"),
        ("%1 = softcap %0 cap=0 -> n 4", "positive number"),
        ("%1 = rms_norm %0 @in0 eps=1e-5 groups=3 -> n 4", "groups that divide"),
        ("%1 = add_row %0 @in0 row=2 -> n 4", "expected 0 to 1, found 2"),
        ("%1 = rope_table @- dims=4 frequencies=1.0 -> n 4", "2 frequencies, found 1"),
        ("%1 = rope_table @- dims=4 frequencies=1.0,nan -> n 4", "a finite number"),
        (
            "%1 = attention %0 %0 %0 n_heads=1 n_kv_heads=1 head_dim=4 scale=1 window=2 causal=0"
            " -> n 4",
            "windows only if causal",
        ),
        ("%1 = gelu %0 form=erf depth=3 -> n 4", "only attributes that ops.def names"),
    ],
)
def test_graphs_that_lie_are_refused(line: str, message: str) -> None:
    start = "plrt-graph 1\n%0 = embed @in0 -> n 4\n"
    text = f"{start}{line}\n%2 = output_rows %1 -> m {line.rsplit(maxsplit=1)[-1]}\n"
    rows = [("in0", "f32", 2, 4, memoryview(bytes(32)), 0)]
    with pytest.raises(FormatError, match=message):
        _core.Program(text, rows, "")


def test_a_route_is_in_range_whatever_the_scores_are() -> None:
    op = one_expert_mlp("f32", 2)
    op.stored["in0"][0][1] = np.nan
    from pyllama_rt.errors import NumericsError

    with pytest.raises(NumericsError):
        op.run("")


@pytest.mark.parametrize("alpha", [0.5, float("nan"), float("inf")])
def test_impossible_alphas_are_refused(alpha: float) -> None:
    from pyllama_rt.errors import ConfigError

    op = OPS["scale: 16"]
    rows = [(*tensor[:4], memoryview(tensor[4]), 0) for tensor in op.tensors()]
    cache = _core.KvCache(_core.Program(op.graph.to_text(), rows, ""), "f32", 64)
    with pytest.raises(ConfigError, match="rope_alpha of at least 1"):
        cache.create(alpha)
