"""Types by mix and tensor: the table by hand, and llama.cpp itself as the judge."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyllama_rt.errors import ConfigError, FormatError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, TensorType
from pyllama_rt.quant.mixes import (
    ALIASES,
    MIXES,
    ModelTraits,
    choose_type,
    find_mix,
    fit_to_rows,
    parse_override,
)
from pyllama_rt.quant.plan import check_requantization, make_plan


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    type: TensorType = TENSOR_TYPES["f16"]


def network(n_layers: int, n_experts: int = 0, tied: bool = False, row: int = 256) -> list[Tensor]:
    """A llama of narrow tensors: the rules look at names and rows only."""
    tensors = [Tensor("token_embd.weight", (8, row)), Tensor("output_norm.weight", (row,))]
    if not tied:
        tensors.append(Tensor("output.weight", (8, row)))
    experts = (n_experts,) if n_experts else ()
    suffix = "_exps" if n_experts else ""
    for i in range(n_layers):
        prefix = f"blk.{i}."
        tensors += [Tensor(f"{prefix}{role}.weight", (row,)) for role in ("attn_norm", "ffn_norm")]
        tensors += [
            Tensor(f"{prefix}attn_{role}.weight", (4, row)) for role in ("q", "k", "v", "output")
        ]
        tensors += [
            Tensor(f"{prefix}ffn_{role}{suffix}.weight", (*experts, 4, row))
            for role in ("gate", "up", "down")
        ]
        if n_experts:
            tensors.append(Tensor(f"{prefix}ffn_gate_inp.weight", (n_experts, row)))
    return tensors


def types(
    mix: str, tensors: Sequence[Tensor], traits: ModelTraits, *, pure: bool = False
) -> dict[str, str]:
    plan = make_plan(find_mix(mix), traits, tensors, pure=pure)
    return {t.name: t.type.name for t in plan.tensors}


def traits_of(n_layers: int, **values: Any) -> ModelTraits:
    return ModelTraits("llama", n_layers, **values)


def test_every_name_is_found_in_any_case() -> None:
    for name in (*MIXES, *ALIASES):
        assert find_mix(name.upper()) is find_mix(name)
    assert find_mix("Q4_K").name == "q4_k_m"
    assert find_mix("q3_k").name == "q3_k_m"
    assert find_mix("Q5_k").name == "q5_k_m"


def test_unknown_names_list_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"'q4_k_x' is unknown \(did you mean 'q4_k.*q8_0"):
        find_mix("q4_k_x")


def test_q4_k_m_gives_more_bits_to_the_layers_that_matter() -> None:
    found = types("q4_k_m", network(8), traits_of(8))
    more = [i for i in range(8) if found[f"blk.{i}.attn_v.weight"] == "q6_k"]
    assert more == [0, 3, 6, 7]
    assert [i for i in range(8) if found[f"blk.{i}.ffn_down.weight"] == "q6_k"] == more
    assert found["output.weight"] == "q6_k"
    assert found["token_embd.weight"] == "q4_k"
    assert found["blk.0.attn_q.weight"] == "q4_k"
    assert found["output_norm.weight"] == "f16"


def test_at_three_bits_the_embedding_takes_a_bit_over_from_the_head() -> None:
    for mix in ("q3_k_s", "q3_k_m", "q3_k_l"):
        found = types(mix, network(2), traits_of(2))
        chosen = [TENSOR_TYPES[found[name]] for name in ("token_embd.weight", "output.weight")]
        assert [kind.name for kind in chosen] == ["q4_k", "q5_k"]
        as_llama_cpp = TENSOR_TYPES["q3_k"], TENSOR_TYPES["q6_k"]
        assert sum(t.block_bytes for t in chosen) == sum(t.block_bytes for t in as_llama_cpp)
        tied = types(mix, network(2, tied=True), traits_of(2, tied=True))
        assert tied["token_embd.weight"] == "q6_k"


def test_a_tied_embedding_is_treated_as_the_head() -> None:
    assert types("q4_0", network(1, tied=True), traits_of(1, tied=True))["token_embd.weight"] == (
        "q6_k"
    )
    assert types("q8_0", network(1, tied=True), traits_of(1, tied=True))["token_embd.weight"] == (
        "q8_0"
    )


def test_pure_is_one_type_everywhere() -> None:
    found = types("q3_k", network(3), traits_of(3), pure=True)
    assert {kind for name, kind in found.items() if "norm" not in name} == {"q3_k"}


@pytest.mark.parametrize(
    ("wanted", "row", "found"),
    [
        ("q4_k", 512, "q4_k"),
        ("q2_k", 64, "q4_0"),
        ("q3_k", 64, "q4_0"),
        ("q4_k", 96, "q5_0"),
        ("q5_k", 32, "q5_1"),
        ("q6_k", 288, "q8_0"),
        ("iq4_xs", 64, "iq4_nl"),
        ("q4_0", 172, "f16"),
        ("q6_k", 172, "f16"),
        ("bf16", 7, "bf16"),
    ],
)
def test_rows_that_blocks_do_not_divide_fall_back(wanted: str, row: int, found: str) -> None:
    assert fit_to_rows(wanted, row).name == found


def test_overrides_choose_the_first_that_matches() -> None:
    plan = make_plan(
        find_mix("q4_k_m"),
        traits_of(2),
        network(2),
        overrides=["blk.1.attn_v=F16", r"attn_[kv]\.=q8_0", "norm|ffn_up=q5_1"],
    )
    found = {t.name: t.type.name for t in plan.tensors}
    assert found["blk.1.attn_v.weight"] == "f16"
    assert found["blk.0.attn_v.weight"] == found["blk.1.attn_k.weight"] == "q8_0"
    assert found["blk.0.ffn_up.weight"] == "q5_1"
    assert found["blk.0.attn_norm.weight"] == "f16"


@pytest.mark.parametrize(
    "text", ["attn_v", "=q8_0", "attn_v=q9", "attn_v=i32", "attn_v=", "(=q8_0", "nothing=q8_0"]
)
def test_bad_overrides_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="tensor type"):
        make_plan(find_mix("q8_0"), traits_of(1), network(1), overrides=[text])


def test_a_close_type_is_suggested_for_overrides() -> None:
    with pytest.raises(ConfigError, match="did you mean 'q8_0'"):
        parse_override("attn_v=q8")


def test_integer_tensors_and_vectors_stay_as_they_are() -> None:
    tensors = [
        Tensor("a.weight", (2, 256), TENSOR_TYPES["i32"]),
        Tensor("rope_freqs.weight", (32,), TENSOR_TYPES["f32"]),
        Tensor("blk.0.attn_q_norm.weight", (2, 256)),
    ]
    plan = make_plan(find_mix("q4_0"), traits_of(1), tensors)
    assert [t.type for t in plan.tensors] == [t.type for t in tensors]


def test_sizes_and_bits_per_weight() -> None:
    plan = make_plan(find_mix("q8_0"), traits_of(1), [Tensor("blk.0.attn_q.weight", (4, 64))])
    assert plan.n_bytes == 4 * 2 * 34
    assert plan.bits_per_weight == 8.5
    assert not plan.fallbacks


def test_quantising_twice_is_refused_unless_nothing_changes() -> None:
    tensors = [Tensor("blk.0.attn_q.weight", (4, 256), TENSOR_TYPES["q8_0"])]
    check_requantization(make_plan(find_mix("q8_0"), traits_of(1), tensors), "x.gguf")
    with pytest.raises(ConfigError, match=r"x\.gguf: tensor blk\.0\.attn_q\.weight is q8_0"):
        check_requantization(make_plan(find_mix("q4_0"), traits_of(1), tensors), "x.gguf")


def test_traits_come_from_metadata() -> None:
    keys = {
        "general.architecture": "llama",
        "llama.block_count": 80,
        "llama.attention.head_count": [64] * 80,
        "llama.attention.head_count_kv": 8,
    }
    traits = ModelTraits.of(keys, ["token_embd.weight"])
    assert traits == ModelTraits("llama", 80, gqa=8, tied=True)
    assert traits.is_70b
    assert choose_type("blk.40.attn_v.weight", find_mix("q4_k_s"), traits) == "q5_k"


@pytest.mark.parametrize("bad", [0, -1, "8", True, None, []])
def test_broken_counts_are_refused(bad: object) -> None:
    keys = {"general.architecture": "llama", "llama.block_count": bad}
    with pytest.raises(FormatError, match=r"llama\.block_count"):
        ModelTraits.of(keys, [])


# Judged by llama.cpp: it is asked what it would do with a model of the same names and rows.

_SILENT = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)

_SHAPES = {
    "8 layers": {"n_layers": 8, "n_heads": 8, "n_kv_heads": 4},
    "22 layers, wide gqa": {"n_layers": 22, "n_heads": 32, "n_kv_heads": 4},
    "32 layers, mha": {"n_layers": 32, "n_heads": 32, "n_kv_heads": 32},
    "33 layers, tied": {"n_layers": 33, "n_heads": 8, "n_kv_heads": 8, "tied": 1},
    "80 layers": {"n_layers": 80, "n_heads": 64, "n_kv_heads": 8},
    "8 experts": {"n_layers": 32, "n_heads": 32, "n_kv_heads": 8, "n_experts": 8},
    "4 experts": {"n_layers": 10, "n_heads": 8, "n_kv_heads": 2, "n_experts": 4},
    "rows of 96": {"n_layers": 8, "n_heads": 8, "n_kv_heads": 8, "row": 96},
    "rows of 172": {"n_layers": 8, "n_heads": 8, "n_kv_heads": 8, "row": 172, "tied": 1},
}


def write_model(path: Path, tensors: Sequence[Tensor], shape: dict[str, int]) -> ModelTraits:
    row = tensors[0].shape[-1]
    keys: dict[str, object] = {
        "general.architecture": "llama",
        "llama.block_count": shape["n_layers"],
        "llama.context_length": 64,
        "llama.embedding_length": row,
        "llama.feed_forward_length": row,
        "llama.attention.head_count": shape["n_heads"],
        "llama.attention.head_count_kv": shape["n_kv_heads"],
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.vocab_size": 8,
    }
    if shape.get("n_experts"):
        keys["llama.expert_count"] = shape["n_experts"]
        keys["llama.expert_used_count"] = 2
    with GgufWriter(path) as writer:
        for key, value in keys.items():
            writer.add(key, value)
        for tensor in tensors:
            writer.declare(tensor.name, tensor.shape, tensor.type)
        for tensor in tensors:
            writer.write_tensor(tensor.name, np.zeros(tensor.shape, np.float16))
    return ModelTraits.of(keys, (tensor.name for tensor in tensors))


def test_some_mixes_choose_otherwise_with_importance() -> None:
    tensors = network(16)
    first, later = "blk.1.ffn_down.weight", "blk.2.ffn_down.weight"
    for mix, plain, guided in (("q4_0", "q4_0", "q4_1"), ("iq4_xs", "q5_k", "iq4_xs")):
        without = types(mix, tensors, traits_of(16))
        with_it = types(mix, tensors, traits_of(16, has_importance=True))
        assert (without[first], with_it[first]) == (plain, guided)
        assert without[later] == with_it[later] == mix


@pytest.mark.peer
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize("model", _SHAPES)
def test_types_equal_those_of_llama_cpp(
    model: str, pure: bool, guided: bool, tmp_path: Path
) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    shape = _SHAPES[model]
    tensors = network(
        shape["n_layers"], shape.get("n_experts", 0), bool(shape.get("tied")), shape.get("row", 256)
    )
    traits = write_model(tmp_path / "in.gguf", tensors, shape)
    traits = dataclasses.replace(traits, has_importance=guided)
    llama_cpp.llama_log_set(_SILENT, ctypes.c_void_p(0))
    for mix in MIXES.values():
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype, params.nthread, params.pure = mix.file_type, 1, pure
        if guided or mix.name == "q2_k_s":  # it refuses this one without an importance matrix
            params.imatrix = importance_of_one(llama_cpp, tensors)
        source, out = tmp_path / "in.gguf", tmp_path / "out.gguf"
        status = llama_cpp.llama_model_quantize(
            str(source).encode(), str(out).encode(), ctypes.byref(params)
        )
        assert status == 0, mix.name
        with GgufFile.open(out) as file:
            theirs = {name: info.type.name for name, info in file.tensors.items()}
            assert file.get_int("general.file_type") == mix.file_type
        # Vectors are F16 here and stay so with both.
        ours = types(mix.name, tensors, traits, pure=pure)
        if "q3_k" in mix.name and not pure and not shape.get("tied"):
            check_bit_moved_to_embedding(ours, theirs)
        different = {n: (ours[n], theirs[n]) for n in ours if ours[n] != theirs[n]}
        assert not different, mix.name


def check_bit_moved_to_embedding(ours: dict[str, str], theirs: dict[str, str]) -> None:
    """Takes the two matrices that are meant to differ out of both; together they are no larger."""
    names = ("token_embd.weight", "output.weight")
    bits, bits_of_theirs = (
        sum(TENSOR_TYPES[found.pop(name)].bits_per_weight for name in names)
        for found in (ours, theirs)
    )
    assert bits <= bits_of_theirs


def importance_of_one(llama_cpp: Any, tensors: Sequence[Tensor]) -> Any:
    """The same weight for every column; it keeps its arrays alive."""
    entries = (llama_cpp.llama_model_imatrix_data * (len(tensors) + 1))()
    for entry, tensor in zip(entries, tensors, strict=False):
        n = int(np.prod(tensor.shape[:-2])) * tensor.shape[-1]
        entry.name = tensor.name.encode()
        entry.data = (ctypes.c_float * n)(*[1.0] * n)
        entry.size = n
    return entries
