"""Gemma 3 (text): Gemma 2 without caps, each head's queries and keys normed, and five layers with
a window and rotary positions of their own to one that sees all.

Source: arXiv:2503.19786, section 2.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models import gemma2, gguf_config, hf_config, tables
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.registry import Architecture, register
from pyllama_rt.models.rope import Rope

TENSORS = (*gemma2.TENSORS, *tables.head_norms("plus_one"))

_FULL_EVERY = 6
_LAYERS_27B = 62


def from_gguf(r: MetadataReader) -> TransformerConfig:
    """The config in GGUF metadata."""
    cfg = gguf_config.read_config(r, "gemma3")
    window = r.get_int("gemma3.attention.sliding_window", 0)
    return replace(
        cfg,
        windows=gemma2.every_nth_full(window, cfg.n_layers, _FULL_EVERY),
        local_rope=Rope(cfg.head_dim, r.get_float("gemma3.rope.freq_base_swa", 10000.0)),
        final_softcap=r.get_float("gemma3.final_logit_softcapping", 0.0),
        query_scale=gemma2.gguf_query_scale(cfg, _LAYERS_27B),
    )


def from_hf(r: MetadataReader) -> TransformerConfig:
    """The config in a config.json; transformers 5 keeps both kinds of rotary positions in one."""
    names = hf_config.HfNames(activation="hidden_activation")
    cfg = hf_config.read_config(r, names, activations=gemma2.GELU, rotary=False)
    blocks_of = "rope_parameters.{}_attention"
    if r.has(blocks_of.format("full")):
        rope = hf_config.read_rope(r, cfg, blocks_of.format("full"))
        local = r.get_float(blocks_of.format("sliding") + ".rope_theta", 10000.0)
    else:
        rope, local = hf_config.read_rope(r, cfg), r.get_float("rope_local_base_freq", 10000.0)
    every = r.get_int("sliding_window_pattern", r.get_int("_sliding_window_pattern", _FULL_EVERY))
    usual = gemma2.every_nth_full(r.get_int("sliding_window", 4096), cfg.n_layers, every)
    windows = hf_config.layer_windows(r, usual)
    return replace(
        cfg,
        rope=rope,
        local_rope=Rope(cfg.head_dim, local),
        windows=windows,
        final_softcap=r.get_float("final_logit_softcapping", 0.0),
        query_scale=gemma2.hf_query_scale(r, cfg),
    )


def metadata(cfg: TransformerConfig) -> dict[str, Any]:
    """The config as GGUF keys."""
    keys = gguf_config.config_keys(cfg, "gemma3")
    if cfg.local_rope is not None:
        keys["gemma3.rope.freq_base_swa"] = cfg.local_rope.base
    if cfg.final_softcap:
        keys["gemma3.final_logit_softcapping"] = cfg.final_softcap
    return keys


register(
    Architecture(
        name="gemma3",
        hf_names=("Gemma3ForCausalLM",),
        from_gguf=from_gguf,
        from_hf=from_hf,
        hf_keys=hf_config.COMMON_KEYS
        | {
            "hidden_activation", "attn_logit_softcapping", "final_logit_softcapping",
            "query_pre_attn_scalar", "rope_local_base_freq", "sliding_window_pattern",
            "_sliding_window_pattern",
            *hf_config.rope_keys("rope_parameters.full_attention"),
            *hf_config.rope_keys("rope_parameters.sliding_attention"),
        },
        metadata=metadata,
        tensors=lambda _: TENSORS,
        build=partial(gemma2.build, head_norms=True),
    )
)  # fmt: skip
