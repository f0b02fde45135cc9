from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import write_gguf_adapter
from numpy.typing import NDArray

from pyllama_rt.errors import FormatError, UnsupportedError
from pyllama_rt.formats.gguf_adapter import NORMS_KEY, GgufAdapter, is_norm, norms_digest

Q = "blk.0.attn_q.weight"
EXPERTS = "blk.0.ffn_up_exps.weight"


def zeros(**shapes: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    names = {"q": Q, "e": EXPERTS, "t": "token_embd.weight"}
    return {
        f"{names[key[0]]}.lora_{key[1]}": np.zeros(shape, np.float32)
        for key, shape in shapes.items()
    }


def test_pairs_in_the_order_of_the_file(tmp_path: Path) -> None:
    tensors = zeros(qa=(2, 32), qb=(64, 2), ta=(100, 4), tb=(32, 4), ea=(8, 2, 32), eb=(8, 64, 2))
    path = write_gguf_adapter(tmp_path / "a.gguf", tensors, alpha=8.0)
    with GgufAdapter.open(path) as adapter:
        assert (adapter.architecture, adapter.base_norms) == ("llama", None)
        assert list(adapter.pairs) == [Q, "token_embd.weight", EXPERTS]
        pair = adapter.pairs[Q]
        assert (pair.shape, pair.scale, pair.right_transposed) == ((64, 32), 4.0, False)
        assert (pair.left.name, pair.right.name) == (f"{Q}.lora_b", f"{Q}.lora_a")
        assert len(adapter.data(pair.left)) == 4 * 64 * 2
        pair = adapter.pairs["token_embd.weight"]
        assert (pair.shape, pair.scale, pair.right_transposed) == ((100, 32), 2.0, True)
        assert adapter.pairs[EXPERTS].shape == (8, 64, 32)
        adapter.check_base("base", "llama", {name: p.shape for name, p in adapter.pairs.items()})


@pytest.mark.parametrize("alpha", [None, 0.0])
def test_without_alpha_products_are_added_as_they_are(alpha: float | None, tmp_path: Path) -> None:
    tensors = zeros(qa=(2, 32), qb=(64, 2))
    with GgufAdapter.open(write_gguf_adapter(tmp_path / "a", tensors, alpha=alpha)) as adapter:
        assert adapter.pairs[Q].scale == 1.0


GOOD = zeros(qa=(2, 32), qb=(64, 2))

BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a model": (GOOD, {"general__type": "model"}, "general.type: expected 'adapter'.*'model'"),
    "no type": (GOOD, {"general__type": None}, "general.type: expected 'adapter'.*'model'"),
    "no kind": (GOOD, {"adapter__type": None}, "adapter.type.*no key"),
    "no architecture": (GOOD, {"general__architecture": None}, "general.architecture"),
    "alpha NaN": (GOOD, {"alpha": math.nan}, "adapter.lora.alpha: expected a finite.*nan"),
    "alpha infinite": (GOOD, {"alpha": math.inf}, "adapter.lora.alpha"),
    "alpha no float": (GOOD, {"alpha": None, "adapter__lora__alpha": 8}, "adapter.lora.alpha"),
    "norms no text": (GOOD, {"adapter__lora__base_norms_sha256": 8}, NORMS_KEY),
    "nothing": ({}, {}, "found no tensor"),
    "no b": (zeros(qa=(2, 32)), {}, "attn_q.weight.lora_b' is missing"),
    "no a": (zeros(qb=(64, 2)), {}, "attn_q.weight.lora_a' is missing"),
    "ranks that differ": (zeros(qa=(2, 32), qb=(64, 3)), {}, r"one rank.*\[2, 32\].*\[64, 3\]"),
    "an old orientation": (zeros(qa=(32, 2), qb=(64, 2)), {}, "one rank"),
    "ranks of the embedding": (zeros(ta=(100, 2), tb=(32, 3)), {}, "one rank"),
    "experts that differ": (zeros(ea=(8, 2, 32), eb=(4, 64, 2)), {}, "one rank"),
    "a vector": (zeros(qa=(32,), qb=(64, 2)), {}, r"a matrix of weights, found f32 .*\[32\]"),
    "too many axes": (zeros(qa=(1, 1, 2, 32), qb=(1, 1, 64, 2)), {}, "a matrix of weights"),
    "integers": (GOOD, {"type_name": "i32"}, "a matrix of weights, found i32"),
    "another tensor": (
        {**GOOD, "output_norm.weight": np.zeros(32, np.float32)}, {}, "unexpected.*output_norm",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_adapter_is_refused(case: str, tmp_path: Path) -> None:
    tensors, changes, message = BAD[case]
    path = write_gguf_adapter(tmp_path / "a.gguf", tensors, **changes)
    with pytest.raises(FormatError, match=message) as caught:
        GgufAdapter.open(path)
    assert str(caught.value).startswith(str(path))


def test_other_kinds_of_adapters_are_refused(tmp_path: Path) -> None:
    path = write_gguf_adapter(tmp_path / "a.gguf", GOOD, adapter__type="control_vector")
    with pytest.raises(UnsupportedError, match=r"'control_vector'.*known: lora"):
        GgufAdapter.open(path)


def test_adapters_of_certain_tokens_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    write_gguf_adapter(path, GOOD, adapter__alora__invocation_tokens=[5])
    with pytest.raises(UnsupportedError, match="aLoRA"):
        GgufAdapter.open(path)


def test_a_base_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    write_gguf_adapter(path, GOOD, adapter__lora__base_norms_sha256="aa")
    with GgufAdapter.open(path) as adapter:
        adapter.check_base("BASE", "llama", {Q: (64, 32)})
        adapter.check_base("BASE", "llama", {Q: (64, 32)}, "aa")
        with pytest.raises(FormatError, match="expected 'gemma', as BASE has, found 'llama'"):
            adapter.check_base("BASE", "gemma", {Q: (64, 32)})
        with pytest.raises(FormatError, match=r"shape \[64, 16\], as BASE.*\[64, 32\]"):
            adapter.check_base("BASE", "llama", {Q: (64, 16)})
        with pytest.raises(FormatError, match=r"BASE has no tensor.*did you mean 'blk.1.attn_q"):
            adapter.check_base("BASE", "llama", {"blk.1.attn_q.weight": (64, 32)})
        with pytest.raises(FormatError, match="expected bb, of the norms in BASE, found 'aa'"):
            adapter.check_base("BASE", "llama", {Q: (64, 32)}, "bb")


def test_experts_that_differ_in_number_are_named(tmp_path: Path) -> None:
    tensors = zeros(ea=(8, 2, 32), eb=(8, 64, 2))
    path = write_gguf_adapter(tmp_path / "a.gguf", tensors)
    message = r"shape \[4, 64, 32\].*\[8, 64, 32\]"
    with GgufAdapter.open(path) as adapter, pytest.raises(FormatError, match=message):
        adapter.check_base("BASE", "llama", {EXPERTS: (4, 64, 32)})


def test_the_digest_is_of_names_and_numbers() -> None:
    a, b = ("a_norm.weight", b"1234"), ("b_norm.weight", b"5678")
    assert norms_digest([a, b]) == norms_digest([b, a])
    assert len({norms_digest(n) for n in ([a], [b], [a, b], [(a[0], b[1]), (b[0], a[1])])}) == 4
    assert is_norm("blk.0.attn_norm.weight", (32,))
    assert not is_norm("blk.0.attn_q.bias", (32,))


def test_a_refused_file_is_closed(tmp_path: Path) -> None:
    path = write_gguf_adapter(tmp_path / "a.gguf", GOOD, general__type="model")
    with pytest.raises(FormatError):
        GgufAdapter.open(path)
    path.unlink()  # would fail on Windows
