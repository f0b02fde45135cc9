"""Qwen3 with a mixture of experts in every layer. Source: arXiv:2505.09388, section 2."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pyllama_rt.errors import UnsupportedError
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models import gguf_config, qwen2, qwen3, tables
from pyllama_rt.models.config import Experts, TransformerConfig
from pyllama_rt.models.registry import Architecture, register

TENSORS = (
    *tables.ends(),
    *tables.norms(tables.PRE_NORMS),
    *tables.attention(),
    *tables.head_norms(),
    *tables.experts("mlp.gate", "mlp.experts.{e}", "gate_proj", "up_proj", "down_proj"),
)


def from_hf(r: MetadataReader) -> TransformerConfig:
    """The config in a config.json, whose layers all have experts."""
    if r.get_int("decoder_sparse_step", 1) != 1 or r.length("mlp_only_layers"):
        raise UnsupportedError("mlp_only_layers: layers without experts are not supported")
    if not r.get_bool("norm_topk_prob", False):
        # GGUF has no key for it, and other programs norm the shares of this architecture.
        raise UnsupportedError("norm_topk_prob: expected true, found false")
    if not r.get_bool("use_qk_norm", True) or r.get_int("shared_expert_intermediate_size", 0) != 0:
        raise UnsupportedError("use_qk_norm, shared_expert_intermediate_size: expected true and 0")
    n = r.get_int("num_experts", r.get_int("num_local_experts", 0))  # renamed in transformers 5
    n_used = r.get_int("num_experts_per_tok")
    experts = Experts(n, n_used, r.get_int("moe_intermediate_size"))
    return replace(qwen2.from_hf(r), experts=experts)


register(
    Architecture(
        name="qwen3moe",
        hf_names=("Qwen3MoeForCausalLM",),
        from_gguf=partial(gguf_config.read_config, arch="qwen3moe"),
        from_hf=from_hf,
        hf_keys=qwen2.HF_KEYS
        | {
            "decoder_sparse_step", "mlp_only_layers", "moe_intermediate_size", "num_experts",
            "num_local_experts", "use_qk_norm", "shared_expert_intermediate_size",
            "num_experts_per_tok", "norm_topk_prob", "router_aux_loss_coef",
            "output_router_logits",
        },
        metadata=partial(gguf_config.config_keys, arch="qwen3moe"),
        tensors=lambda _: TENSORS,
        build=qwen3.build,
    )
)  # fmt: skip
