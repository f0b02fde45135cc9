"""LLaMA's config, from GGUF metadata and from config.json."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fake_metadata import FakeMetadata
from tiny_llama import tiny_config

from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.errors import FormatError, UnsupportedError
from pyllama_rt.models import llama
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.gguf_config import config_keys, read_config
from pyllama_rt.models.rope import Rope


def gguf(**more: object) -> TransformerConfig:
    """The config of a file with further `llama.` keys, whose dots are written as `__`."""
    values = {"tokenizer.ggml.tokens": ["a"] * 273, **config_keys(tiny_config(), "llama")}
    values |= {f"llama.{key.replace('__', '.')}": value for key, value in more.items()}
    return read_config(FakeMetadata(values), "llama")


@pytest.mark.parametrize(
    ("keys", "scale"),
    [
        ({}, 1.0),
        ({"rope__scaling__factor": 4.0}, 0.25),
        ({"rope__scaling__type": "linear", "rope__scaling__factor": 4.0}, 0.25),
        ({"rope__scaling__type": "linear"}, 1.0),
        ({"rope__scaling__type": "none", "rope__scaling__factor": 4.0}, 1.0),
        ({"rope__scale_linear": 2.0}, 0.5),
        ({"rope__scale_linear": 2.0, "rope__scaling__factor": 4.0}, 0.25),
        ({"rope__scaling__factor": 0.0}, 1.0),
        ({"rope__scale_linear": 0.0}, 1.0),
    ],
)
def test_linear_scaling(keys: dict[str, object], scale: float) -> None:
    rope = gguf(**keys).rope
    assert rope is not None
    assert rope.frequencies() == [scale * f for f in Rope(64).frequencies()]


@pytest.mark.parametrize("factor", [-2.0, float("nan"), float("inf")])
def test_impossible_factors(factor: float) -> None:
    with pytest.raises(FormatError, match=r"llama\.rope\.scaling\.factor"):
        gguf(rope__scaling__factor=factor)


def test_other_scaling_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"llama.rope.scaling.type: 'ntk' is not supported"):
        gguf(rope__scaling__type="ntk")


def test_the_scale_survives_the_metadata() -> None:
    cfg = replace(tiny_config(), rope=Rope(64, kind="linear", factor=8.0))
    values = {"tokenizer.ggml.tokens": ["a"] * cfg.vocab_size, **config_keys(cfg, "llama")}
    assert read_config(FakeMetadata(values), "llama") == cfg


def hf(**changes: Any) -> TransformerConfig:
    values = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "vocab_size": 100, **changes,
    }  # fmt: skip
    return llama.from_hf(JsonMetadata(values, "config.json"))


@pytest.mark.parametrize(
    ("keys", "base", "scale"),
    [
        ({}, 10000.0, 1.0),
        ({"rope_theta": 5e5}, 5e5, 1.0),
        ({"rope_theta": 5e5, "rope_scaling": None}, 5e5, 1.0),
        ({"rope_scaling": {"type": "linear", "factor": 4}}, 10000.0, 0.25),
        ({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, 5e5, 1.0),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0}, "rope_theta": 9.0}, 9.0, 0.5),
        ({"rope_parameters": {"rope_theta": 7.0, "partial_rotary_factor": 1.0}}, 7.0, 1.0),
    ],
)
def test_rope(keys: dict[str, Any], base: float, scale: float) -> None:
    cfg = hf(**keys)
    assert cfg.rope is not None
    assert (cfg.rope.base, 1 / cfg.rope.factor) == (base, scale)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"rope_parameters": {"rope_type": "ntk"}}, "rope_parameters.rope_type: 'ntk'"),
        ({"rope_scaling": {"rope_type": "dynamic"}}, "rope_scaling.rope_type: 'dynamic'"),
        (
            {"rope_scaling": {"type": "linear", "factor": 2.0, "attention_factor": 0.3}},
            "rope_scaling.attention_factor: not supported beside rope_type 'linear'",
        ),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: only whole heads"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor: only whole"),
        ({"rope_parameters": {}, "rope_scaling": {}}, "found both"),
        ({"hidden_act": "gelu"}, "hidden_act: 'gelu' is not supported yet; known: silu"),
        (
            {"layer_types": ["full_attention", "chunked_attention"]},
            "layer_types: 'chunked_attention' is not supported",
        ),
    ],
)
def test_other_arithmetic_is_not_supported(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        hf(**keys)


def test_messages_name_the_keys_of_the_file() -> None:
    for keys, name in (
        ({"head_dim": 9}, "head_dim: expected an even number, found 9"),
        ({"hidden_size": 36}, "head_dim: expected an even number, found 9"),
        ({"num_key_value_heads": 3}, "num_key_value_heads: expected a divisor of 4"),
        ({"rope_theta": 0.0}, "rope_theta"),
        ({"rms_norm_eps": 1e-60}, "rms_norm_eps"),
        ({"max_position_embeddings": 0}, "max_position_embeddings"),
    ):
        with pytest.raises(FormatError, match=f"^{name}"):
            hf(**keys)
