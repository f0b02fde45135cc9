"""What a token costs: the arithmetic of its matrix products and the bytes that it makes move."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from pyllama_rt.engine.load import Model
from pyllama_rt.formats.gguf import GgufFile


@dataclass(frozen=True, slots=True)
class TokenWork:
    """Counts for one model.

    row_macs: multiply-accumulates of every row. output_macs: those of a row that asks for logits,
    besides. weight_bytes: of the matrices that a step reads, once for all its rows. cell_bytes: of
    one position in the cache. is_quantized: whether all the arithmetic is on int8.
    """

    row_macs: int
    output_macs: int
    weight_bytes: int
    cell_bytes: int
    is_quantized: bool

    def prompt_macs(self, n_tokens: int) -> int:
        """Multiply-accumulates of a prompt of which the last row asks for logits."""
        return n_tokens * self.row_macs + self.output_macs

    def generation_bytes(self, depth: int, n_tokens: int) -> float:
        """Bytes read for one of n_tokens generated after `depth`, on average."""
        return self.weight_bytes + self.cell_bytes * (depth + (n_tokens + 1) / 2)


def token_work(model: Model) -> TokenWork:
    """Counts what the graph of a model multiplies; attention's own products are left out."""
    with GgufFile.open(model.path) as file:
        infos = file.tensors
    macs = {"n": 0, "m": 0}
    used: dict[str, float] = {}  # share of each matrix that a token meets
    for node in model.graph.nodes:
        name = node.weights[0] if node.weights else None
        if node.op not in ("linear", "expert_linear") or name not in infos or name in used:
            continue
        sizes = dict(node.attributes)
        used[name] = float(sizes.get("n_used", 1)) / float(sizes.get("n_experts", 1))
        macs[node.rows] += round(prod(infos[name].shape) * used[name])
    return TokenWork(
        row_macs=macs["n"],
        output_macs=macs["m"],
        weight_bytes=round(sum(infos[name].n_bytes * share for name, share in used.items())),
        cell_bytes=model.program.kv_bytes_per_cell(model.config.kv_type),
        is_quantized=all(infos[name].type.is_quantized for name in used if "inp" not in name),
    )
