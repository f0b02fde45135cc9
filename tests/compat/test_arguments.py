"""Arguments of llama-cpp-python, checked without a model."""

from __future__ import annotations

import numpy as np
import pytest

from pyllama_rt.compat import LogitsProcessorList, StoppingCriteriaList, arguments
from pyllama_rt.config import check_int
from pyllama_rt.errors import ConfigError


def test_neutral_arguments_pass_and_others_do_not() -> None:
    neutral = {"kv_overrides": None, "lora_path": None, "spm_infill": False}
    arguments.check_neutral("Llama", arguments.LOAD_NEUTRAL, neutral)
    with pytest.raises(ConfigError, match=r"spm_infill: this version takes only False.*found True"):
        arguments.check_neutral("Llama", arguments.LOAD_NEUTRAL, {"spm_infill": True})
    with pytest.raises(TypeError, match=r"Llama.*'use_mlok'.*did you mean 'use_mlock'"):
        arguments.check_neutral("Llama", arguments.LOAD_NEUTRAL, {"use_mlok": True})


@pytest.mark.parametrize(
    "where",
    [
        {"n_gpu_layers": -1, "split_mode": 1, "main_gpu": 3, "tensor_split": [0.5, 0.5]},
        {"n_gpu_layers": 35, "offload_kqv": False, "op_offload": True, "flash_attn": True},
        {"use_mmap": False, "use_mlock": True, "numa": 1, "n_ubatch": 64},
    ],
)
def test_where_memory_and_compute_lie_is_left_to_us(where: dict[str, object]) -> None:
    arguments.check_neutral("Llama", arguments.LOAD_NEUTRAL, where)


def test_stop_strings() -> None:
    assert arguments.stop_list(None) == []
    assert arguments.stop_list("x") == ["x"]
    assert arguments.stop_list(("x", "yz")) == ["x", "yz"]
    for bad in (5, {"x": 1}, b"x", [5], ""):
        with pytest.raises(ConfigError, match="stop: expected"):
            arguments.stop_list(bad)  # type: ignore[arg-type]


def test_flags() -> None:
    arguments.check_flags(stream=True, echo=False)
    for bad in ("yes", 1, None):
        with pytest.raises(ConfigError, match="stream: expected True or False, found"):
            arguments.check_flags(stream=bad)


def test_whole_numbers_are_named_in_full() -> None:
    with pytest.raises(ConfigError, match="from -1 to 18446744073709551615, found -7"):
        check_int("seed", -7, -1, (1 << 64) - 1)


def test_cache_types() -> None:
    assert arguments.cache_type(None, None) == "f16"
    assert arguments.cache_type("f32", 0) == "f32"
    assert arguments.cache_type(8, "q8_0") == "q8_0"
    with pytest.raises(ConfigError, match=r"type_v: .*'q4_0'"):
        arguments.cache_type("f16", "q4_0")
    with pytest.raises(ConfigError, match="the same"):
        arguments.cache_type("f32", None)


@pytest.mark.parametrize("bad", [[-1], [10], [2**63], [1.0], [True], "ab", 5, [None]])
def test_ids_outside_the_vocabulary(bad: list[int]) -> None:
    with pytest.raises(ConfigError):
        arguments.checked_ids(bad, 10)


def test_ids_of_numpy() -> None:
    ids = arguments.checked_ids(np.array([1, 9], np.intc), 10)
    assert ids == [1, 9]
    assert {type(token) for token in ids} == {int}


def test_limits() -> None:
    assert [arguments.limit_of(n) for n in (None, -1, 0, 1, 7)] == [None, None, None, 1, 7]
    for bad in (1.5, True, 2**63, "3"):
        with pytest.raises(ConfigError, match="max_tokens"):
            arguments.limit_of(bad)  # type: ignore[arg-type]


def test_processors_and_criteria_come_one_or_many() -> None:
    def double(ids: arguments.Ids, scores: arguments.Scores) -> arguments.Scores:
        assert ids.dtype == np.intc
        return scores * 2

    row = np.ones(3, np.float32)
    for given in (double, [double], LogitsProcessorList([double])):
        out = row
        for process in arguments.as_processors(given, {2: 5.0}, 3):
            out = process([0], out)
        assert out.tolist() == [2, 2, 7]
    criteria = arguments.as_criteria(StoppingCriteriaList([lambda ids, _: len(ids) > 1]))
    assert [criteria[0]([0] * n, row) for n in (1, 2)] == [False, True]
    with pytest.raises(ConfigError, match="logits_processor"):
        arguments.as_processors([3], None, 3)  # type: ignore[list-item]


@pytest.mark.parametrize(
    "bias",
    [{"a": 1.0}, {5: 1.0}, {-1: 1.0}, {1: float("nan")}, {1: "x"}, {1: 1e9}, [1, 2]],
)
def test_wrong_biases(bias: dict[int, float]) -> None:
    with pytest.raises(ConfigError, match="logit_bias"):
        arguments.as_processors(None, bias, 5)
