"""config.json files as transformers writes them, and keys of public checkpoints."""

from __future__ import annotations

import json
from typing import Any

import pytest
from families import FAMILIES

from pyllama_rt.convert.gguf_holds import check_gguf_holds
from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.errors import FormatError, UnsupportedError
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.hf_keys import check_hf_keys
from pyllama_rt.models.registry import architecture_of_hf

CONFIGS = {
    "LlamaForCausalLM": "LlamaConfig", "MixtralForCausalLM": "MixtralConfig",
    "Qwen2ForCausalLM": "Qwen2Config", "Qwen3ForCausalLM": "Qwen3Config",
    "Gemma2ForCausalLM": "Gemma2Config", "Gemma3ForCausalLM": "Gemma3TextConfig",
    "Phi3ForCausalLM": "Phi3Config", "GPT2LMHeadModel": "GPT2Config",
    "Starcoder2ForCausalLM": "Starcoder2Config", "BertModel": "BertConfig",
}  # fmt: skip

EXTRA_KEYS: dict[str, dict[str, Any]] = {
    "starcoder2": {
        "residual_dropout": 0.1, "embedding_dropout": 0.1, "activation_function": "gelu",
        "attention_softmax_in_fp32": True, "scale_attention_softmax_in_fp32": True,
        "scale_attn_weights": True,
    },
    "gemma2": {"sliding_window_size": 8},
    "gemma3": {"_sliding_window_pattern": 6, "use_bidirectional_attention": False},
    "qwen3moe": {
        "use_qk_norm": True, "shared_expert_intermediate_size": 0, "router_aux_loss_coef": 0.001,
        "output_router_logits": False,
    },
    "phi3": {"full_attn_mod": 1, "interpolate_factor": 1, "lm_head_bias": False},
    "bert": {"pooler_num_attention_heads": 12, "pooler_size_per_head": 128},
    "mixtral": {"output_router_logits": True, "router_aux_loss_coef": 0.02},
}  # fmt: skip


def read(values: dict[str, Any]) -> TransformerConfig:
    arch = architecture_of_hf(values["architectures"])
    config = arch.from_hf(JsonMetadata(values, "config.json"))
    check_hf_keys(values, arch.hf_keys)
    check_gguf_holds(arch, config)
    return config


@pytest.mark.parametrize("name", CONFIGS)
def test_what_transformers_writes_is_read(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, CONFIGS[name])(architectures=[name])
    values = json.loads(config.to_json_string(use_diff=False))
    assert read(values).n_layers > 0


@pytest.mark.parametrize("family", EXTRA_KEYS)
def test_keys_of_public_checkpoints(family: str) -> None:
    assert read({**FAMILIES[family], **EXTRA_KEYS[family]}) == read(FAMILIES[family])


def test_experts_under_their_later_name() -> None:
    values = dict(FAMILIES["qwen3moe"])
    values["num_local_experts"] = values.pop("num_experts")
    assert read(values) == read(FAMILIES["qwen3moe"])


@pytest.mark.parametrize(
    ("family", "keys", "field"),
    [
        ("gemma3", {"sliding_window_pattern": 2}, "windows"),
        ("gemma3", {"query_pre_attn_scalar": 7}, "query_scale"),
        ("gemma2", {"layer_types": ["full_attention"] * 3}, "windows"),
        (
            "qwen2",
            {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
            "windows",
        ),
    ],
)
def test_what_gguf_cannot_say_is_refused(family: str, keys: dict[str, Any], field: str) -> None:
    with pytest.raises(UnsupportedError, match=f"^{field}: GGUF has no key"):
        read({**FAMILIES[family], **keys})


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("gemma3", {"sliding_window_pattern": 0}),
        ("gemma2", {"query_pre_attn_scalar": 0}),
        ("gemma3", {"query_pre_attn_scalar": -1}),
        ("llama-yarn", {"rope_scaling": {"rope_type": "yarn", "factor": 0.0}}),
        ("llama-yarn", {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "beta_fast": 1e308}}),
        ("llama-yarn", {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "beta_slow": 1e-320}}),
    ],
)
def test_impossible_numbers_are_one_line(family: str, keys: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="expected"):
        read({**FAMILIES[family], **keys})


def test_gemma_3_keeps_its_local_base() -> None:
    changed = read({**FAMILIES["gemma3"], "rope_local_base_freq": 500.0})
    assert changed.local_rope is not None
    assert changed.local_rope.base == 500.0
