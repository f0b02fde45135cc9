"""One tiny checkpoint of every family of models, with random weights that only a seed decides."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import N_PIECES, Arrays, HuggingFace

from pyllama_rt.convert.huggingface import expected_tensors
from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.models.registry import architecture_of_hf

IDS = [1, 7, 260, 9, 33, 261, 100, 4, 5, 270, 12, 65, 66, 3, 263, 77, 8, 200, 19, 262]
"""What the families read; longer than the windows."""

_COMMON: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": N_PIECES,
    "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False,
}  # fmt: skip


def _family(name: str, **changes: Any) -> dict[str, Any]:
    values = {**_COMMON, "architectures": [name], **changes}
    return {key: value for key, value in values.items() if value is not None}


_LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
_LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0 + 0.01 * i for i in range(8)],
    "long_factor": [1.0 + 0.5 * i for i in range(8)],
}
_GEMMA = {
    "head_dim": 24, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 24,
    "sliding_window": 8, "tie_word_embeddings": True,
}  # fmt: skip

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": _family("LlamaForCausalLM", model_type="llama", head_dim=32),
    "llama-3.1": _family("LlamaForCausalLM", model_type="llama", rope_scaling=_LLAMA3),
    "llama-yarn": _family(
        "LlamaForCausalLM", model_type="llama", rope_scaling=_YARN, attention_bias=True
    ),
    "mistral": _family("MistralForCausalLM", model_type="mistral", sliding_window=8),
    "mixtral": _family(
        "MixtralForCausalLM", model_type="mixtral", num_local_experts=4, num_experts_per_tok=2
    ),
    "qwen2": _family("Qwen2ForCausalLM", model_type="qwen2", tie_word_embeddings=True),
    "qwen3": _family("Qwen3ForCausalLM", model_type="qwen3", head_dim=32),
    "qwen3moe": _family(
        "Qwen3MoeForCausalLM", model_type="qwen3_moe", head_dim=32, num_experts=6,
        num_experts_per_tok=3, moe_intermediate_size=32, norm_topk_prob=True,
        decoder_sparse_step=1, mlp_only_layers=[],
    ),
    "gemma2": _family(
        "Gemma2ForCausalLM", model_type="gemma2", **_GEMMA, attn_logit_softcapping=5.0,
        final_logit_softcapping=3.0, num_hidden_layers=3,
    ),
    "gemma3": _family(
        "Gemma3ForCausalLM", model_type="gemma3_text", **_GEMMA, num_hidden_layers=7,
        rope_theta=1e6, rope_local_base_freq=10000.0,
        rope_scaling={"rope_type": "linear", "factor": 8.0},
    ),
    "phi3": _family("Phi3ForCausalLM", model_type="phi3", pad_token_id=0),
    "phi3-long": _family(
        "Phi3ForCausalLM", model_type="phi3", pad_token_id=0, rope_scaling=_LONGROPE,
        max_position_embeddings=128, original_max_position_embeddings=64,
    ),
    "gpt2": {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 64, "n_layer": 2,
        "n_head": 4, "n_positions": 64, "vocab_size": N_PIECES, "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new", "bos_token_id": 1, "eos_token_id": 2,
        "tie_word_embeddings": True,
    },
    "starcoder2": _family(
        "Starcoder2ForCausalLM", model_type="starcoder2", norm_epsilon=1e-5, rms_norm_eps=None,
        hidden_act="gelu_pytorch_tanh", use_bias=True, sliding_window=None,
        tie_word_embeddings=True,
    ),
    "bert": _family(
        "BertModel", model_type="bert", num_key_value_heads=None, rms_norm_eps=None,
        rope_theta=None, layer_norm_eps=1e-12, hidden_act="gelu", type_vocab_size=2,
        tie_word_embeddings=None,
    ),
}  # fmt: skip
"""config.json by family."""


def weights(config: dict[str, Any], seed: int = 0) -> Arrays:
    """Every tensor that the config promises, under its Hugging Face name.

    All biases are there that the family may have, but not a head that is the embedding.
    """
    rng = np.random.default_rng(seed)
    arch = architecture_of_hf(config["architectures"])
    cfg = arch.from_hf(JsonMetadata(config, "config.json"))
    arrays: Arrays = {}
    for expected in expected_tensors(arch, cfg):
        if expected.gguf == "output.weight" and config.get("tie_word_embeddings"):
            continue
        if (
            expected.spec.optional
            and expected.gguf.endswith(".bias")
            and not _has(config, expected.gguf)
        ):
            continue
        stack = "{e}" in expected.spec.hf
        shape = expected.shape[1:] if stack else expected.shape
        if expected.spec.transform == "transpose":
            shape = shape[::-1]
        for name in expected.hf:
            values = rng.standard_normal(shape) / math.sqrt(shape[-1])
            if len(shape) == 1:
                one = 0.0 if name.endswith("bias") or expected.spec.transform == "plus_one" else 1.0
                values = one + 0.1 * rng.standard_normal(shape)
            arrays[name] = values.astype(np.float32)
    return arrays


def _has(config: dict[str, Any], gguf: str) -> bool:
    """Whether the family's checkpoints have an optional bias."""
    kind = config["model_type"]
    if kind == "qwen2":
        return "attn_output" not in gguf and "attn_" in gguf
    if kind == "starcoder2":
        return True
    return bool(config.get("attention_bias")) and "attn_" in gguf


def write_family(name: str, folder: Path) -> Path:
    """Writes the checkpoint as a Hugging Face directory in F32."""
    config = FAMILIES[name]
    return HuggingFace(config, weights(config), "F32").write(folder)
