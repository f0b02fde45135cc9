"""Qwen3: Qwen2 without biases, each head's queries and keys normed. Source: arXiv:2505.09388."""

from __future__ import annotations

from functools import partial

from pyllama_rt.models import gguf_config, qwen2, tables
from pyllama_rt.models.registry import Architecture, register

TENSORS = (*qwen2.TENSORS, *tables.head_norms())

build = partial(qwen2.build, head_norms=True)

register(
    Architecture(
        name="qwen3",
        hf_names=("Qwen3ForCausalLM",),
        from_gguf=partial(gguf_config.read_config, arch="qwen3"),
        from_hf=qwen2.from_hf,
        hf_keys=qwen2.HF_KEYS,
        metadata=partial(gguf_config.config_keys, arch="qwen3"),
        tensors=lambda _: TENSORS,
        build=build,
    )
)
