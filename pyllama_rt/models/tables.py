"""Rows of tensor tables that several architectures share: names in GGUF and in checkpoints."""

from __future__ import annotations

from collections.abc import Iterable

from pyllama_rt.models.registry import TensorSpec

LAYER = "model.layers.{i}."


def pair(
    gguf: str, hf: str, shape: tuple[str, ...], transform: str = "", *, bias: str = "optional"
) -> tuple[TensorSpec, ...]:
    """A weight and its bias.

    Args: gguf, hf: names without `.weight`. bias: "optional", "required" or "none".
    """
    weight = TensorSpec(f"{gguf}.weight", f"{hf}.weight", shape, transform)
    if bias == "none":
        return (weight,)
    turned = "" if transform == "transpose" else transform
    optional = bias == "optional"
    return (
        weight,
        TensorSpec(f"{gguf}.bias", f"{hf}.bias", shape[:1], turned, optional=optional),
    )


def ends(norm_transform: str = "") -> tuple[TensorSpec, ...]:
    """The embedding, the last norm and the head, which is the embedding where there is none."""
    return (
        TensorSpec("token_embd.weight", "model.embed_tokens.weight", ("vocab", "dim")),
        TensorSpec("output_norm.weight", "model.norm.weight", ("dim",), norm_transform),
        TensorSpec("output.weight", "lm_head.weight", ("vocab", "dim"), optional=True),
    )


def norms(names: Iterable[tuple[str, str]], transform: str = "") -> tuple[TensorSpec, ...]:
    """Norms of a layer without bias, by name in GGUF and in checkpoints."""
    return tuple(
        TensorSpec(f"blk.{{i}}.{gguf}.weight", f"{LAYER}{hf}.weight", ("dim",), transform)
        for gguf, hf in names
    )


PRE_NORMS = (("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"))


def attention(*, interleave: bool = False) -> tuple[TensorSpec, ...]:
    """Separate queries, keys and values, and the output.

    Args: interleave: whether GGUF rotates neighbours where checkpoints rotate halves.
    """
    q, k = ("interleave_q", "interleave_k") if interleave else ("", "")
    return (
        *pair("blk.{i}.attn_q", f"{LAYER}self_attn.q_proj", ("q", "dim"), q),
        *pair("blk.{i}.attn_k", f"{LAYER}self_attn.k_proj", ("kv", "dim"), k),
        *pair("blk.{i}.attn_v", f"{LAYER}self_attn.v_proj", ("kv", "dim")),
        *pair("blk.{i}.attn_output", f"{LAYER}self_attn.o_proj", ("dim", "q")),
    )


def head_norms(transform: str = "") -> tuple[TensorSpec, ...]:
    """Norms of each head's queries and keys."""
    return tuple(
        TensorSpec(
            f"blk.{{i}}.attn_{c}_norm.weight", f"{LAYER}self_attn.{c}_norm.weight", ("head",),
            transform,
        )
        for c in "qk"
    )  # fmt: skip


def gated_mlp() -> tuple[TensorSpec, ...]:
    """An MLP with a gate."""
    return (
        *pair("blk.{i}.ffn_gate", f"{LAYER}mlp.gate_proj", ("hidden", "dim")),
        *pair("blk.{i}.ffn_up", f"{LAYER}mlp.up_proj", ("hidden", "dim")),
        *pair("blk.{i}.ffn_down", f"{LAYER}mlp.down_proj", ("dim", "hidden")),
    )


def experts(router: str, expert: str, gate: str, up: str, down: str) -> tuple[TensorSpec, ...]:
    """A router and experts with gates; GGUF stacks the matrices of all experts.

    Args: router: its name in a layer of a checkpoint. expert: what stands before an expert's own
        names, with `{e}` for its number. gate, up, down: those names.
    """
    wide, tall = ("experts", "expert", "dim"), ("experts", "dim", "expert")
    rows = (("gate", gate, wide), ("up", up, wide), ("down", down, tall))
    return (
        TensorSpec("blk.{i}.ffn_gate_inp.weight", f"{LAYER}{router}.weight", ("experts", "dim")),
        *(
            TensorSpec(f"blk.{{i}}.ffn_{role}_exps.weight", f"{LAYER}{expert}.{name}.weight", shape)
            for role, name, shape in rows
        ),
    )
