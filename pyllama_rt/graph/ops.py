"""The ops of a graph. Generated from csrc/graph/ops.def by tools/generate_ops.py; do not edit."""

from __future__ import annotations

from typing import NamedTuple


class OpSpec(NamedTuple):
    """Numbers of value and weight inputs, and the attribute names, of one op."""

    n_values: int
    n_weights: int
    attributes: tuple[str, ...]


OPS: dict[str, OpSpec] = {
    "embed": OpSpec(0, 1, ()),
    "rms_norm": OpSpec(1, 1, ("eps",)),
    "linear": OpSpec(1, 2, ()),
    "rope_table": OpSpec(0, 1, ("dims", "base", "scale")),
    "rope": OpSpec(2, 0, ("n_heads", "head_dim", "dims", "pairing")),
    "attention": OpSpec(3, 0, ("n_heads", "n_kv_heads", "head_dim", "scale")),
    "silu_mul": OpSpec(2, 0, ()),
    "add": OpSpec(2, 0, ()),
    "output_rows": OpSpec(1, 0, ()),
}
