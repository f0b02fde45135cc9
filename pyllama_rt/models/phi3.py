"""Phi-3: LLaMA with one matrix for queries, keys and values, one for gate and up, and LongRoPE.

Source: arXiv:2404.14219, section 2.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models import gguf_config, hf_config, qwen2, reading, tables
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.registry import Architecture, register

_ATTENTION, _MLP = f"{tables.LAYER}self_attn.", f"{tables.LAYER}mlp."
TENSORS = (
    *tables.ends(),
    *tables.norms(tables.PRE_NORMS),
    *tables.pair("blk.{i}.attn_qkv", f"{_ATTENTION}qkv_proj", ("qkv", "dim"), bias="none"),
    *tables.pair("blk.{i}.attn_output", f"{_ATTENTION}o_proj", ("dim", "q"), bias="none"),
    *tables.pair("blk.{i}.ffn_up", f"{_MLP}gate_up_proj", ("2hidden", "dim"), bias="none"),
    *tables.pair("blk.{i}.ffn_down", f"{_MLP}down_proj", ("dim", "hidden"), bias="none"),
)


def from_gguf(r: MetadataReader) -> TransformerConfig:
    """The config in GGUF metadata, where only LongRoPE names an original context."""
    cfg = gguf_config.read_config(r, "phi3")
    if cfg.rope is None or not cfg.rope.n_ctx_original or cfg.rope.kind != "none":
        return cfg
    return replace(cfg, rope=replace(cfg.rope, kind="longrope"))


def from_hf(r: MetadataReader) -> TransformerConfig:
    """The config in a config.json."""
    reading.check_count("full_attn_mod", r.get_int("full_attn_mod", 1), 1, 1)
    cfg = hf_config.read_config(r, hf_config.HfNames(usual_eps=1e-5))
    return replace(cfg, windows=hf_config.read_window(r, cfg.n_layers))


register(
    Architecture(
        name="phi3",
        hf_names=("Phi3ForCausalLM",),
        from_gguf=from_gguf,
        from_hf=from_hf,
        hf_keys=hf_config.COMMON_KEYS | {"full_attn_mod"},
        metadata=partial(gguf_config.config_keys, arch="phi3"),
        tensors=lambda _: TENSORS,
        build=qwen2.build,
    )
)
