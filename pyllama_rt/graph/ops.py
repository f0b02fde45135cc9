"""The ops of a graph; generated from csrc/graph/ops.def by tools/generate_ops.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class OpSpec(NamedTuple):
    """Numbers of value and weight inputs of one op, and its attributes.

    attributes: default by name, None where there is none.
    """

    n_values: int
    n_weights: int
    attributes: Mapping[str, int | None]


OPS: dict[str, OpSpec] = {
    "embed": OpSpec(0, 1, {}),
    "embed_positions": OpSpec(0, 1, {}),
    "rms_norm": OpSpec(1, 1, {"eps": None, "groups": 1}),
    "layer_norm": OpSpec(1, 2, {"eps": None}),
    "linear": OpSpec(1, 2, {}),
    "slice": OpSpec(1, 0, {"first": None}),
    "rope_table": OpSpec(0, 1, {"dims": None, "frequencies": None, "magnitude": 1}),
    "rope": OpSpec(2, 0, {"n_heads": None, "head_dim": None, "dims": None, "pairing": None}),
    "attention": OpSpec(
        3,
        0,
        {
            "n_heads": None,
            "n_kv_heads": None,
            "head_dim": None,
            "scale": None,
            "window": 0,
            "softcap": 0,
            "causal": 1,
        },
    ),
    "silu_mul": OpSpec(2, 0, {}),
    "gelu": OpSpec(1, 0, {"form": None}),
    "gelu_mul": OpSpec(2, 0, {}),
    "softcap": OpSpec(1, 0, {"cap": None}),
    "scale": OpSpec(1, 0, {"factor": None}),
    "add": OpSpec(2, 0, {}),
    "add_row": OpSpec(1, 1, {"row": None}),
    "topk_route": OpSpec(1, 0, {"n_used": None, "norm": 1}),
    "expert_linear": OpSpec(2, 1, {"n_experts": None, "n_used": None, "shared": None}),
    "expert_sum": OpSpec(2, 0, {"n_used": None}),
    "output_rows": OpSpec(1, 0, {}),
}
