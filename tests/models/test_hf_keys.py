"""Keys of config.json that may and may not be left unread."""

from __future__ import annotations

from typing import Any

import pytest

from pyllama_rt.errors import UnsupportedError
from pyllama_rt.models.hf_config import COMMON_KEYS as HF_KEYS
from pyllama_rt.models.hf_keys import check_hf_keys

COMMON: dict[str, Any] = {
    "_name_or_path": "x", "architectures": ["LlamaForCausalLM"], "auto_map": {"AutoModel": "m.M"},
    "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 1, "dtype": "float16",
    "eos_token_id": 2, "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096,
    "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings": 2048,
    "max_sequence_length": 2048, "mlp_bias": False, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
    "pad_token_id": 0, "pretraining_tp": 1, "rms_norm_eps": 1e-6, "rope_scaling": None,
    "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "float16",
    "transformers_version": "4.28.1", "unsloth_version": "1", "use_cache": True,
    "vocab_size": 32000, "layer_types": ["full_attention"], "sliding_window": None,
    "output_attentions": False, "pruned_heads": {}, "temperature": 0.9, "use_sliding_window": False,
}  # fmt: skip


def test_the_keys_of_public_models_pass() -> None:
    check_hf_keys(COMMON, HF_KEYS)
    parameters = {"rope_theta": 1e4, "rope_type": "default"}
    check_hf_keys({"rope_parameters": parameters}, HF_KEYS)
    check_hf_keys({"rope_scaling": {"type": "linear", "factor": 2.0}}, HF_KEYS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attn_logit_softcapping", 50.0),
        ("embedding_multiplier", 12.0),
        ("logit_scale", 0.1),
        ("num_local_experts", 8),
        ("use_qk_norm", True),
        ("rope_interleaved", True),
        ("clip_qkv", 8.0),
        ("rope_scaling", 2.0),
        ("rope_parameters", {"full_attention": {"rope_theta": 1.0}}),
        ("rope_scaling", {"type": "linear", "factor": 2.0, "mscale": 0.3}),
    ],
)
def test_keys_that_change_the_arithmetic_fail(key: str, value: object) -> None:
    with pytest.raises(UnsupportedError, match=f"^'{key}.*may change the arithmetic"):
        check_hf_keys({key: value}, HF_KEYS)
