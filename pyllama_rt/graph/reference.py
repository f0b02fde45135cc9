"""The NumPy twin of every op: slow, plain, and the oracle for every backend.

Sums run in float64 and results are rounded to float32; where a backend rounds on purpose
(activations to int8, keys and values to the cache's type) the twin rounds the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pyllama_rt.graph.builder import Graph, Node

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ReferenceWeight:
    """A weight as floats, (rows, columns) or (columns,).

    activations: format to which the activations that meet it are rounded: "f32", "bf16", or
    "int8_32" and "int8_256" for blocks of that many elements.
    """

    values: Floats
    activations: str = "f32"


@dataclass(frozen=True, slots=True)
class ReferenceBatch:
    """Rows of a step: token id and sequence of each, and whether its output is wanted."""

    ids: Sequence[int]
    sequences: Sequence[int]
    wanted: Sequence[bool]


@dataclass
class ReferenceCache:
    """Keys and values by (attention node, sequence), rounded to `kv_type`: (n, heads, head_dim)."""

    kv_type: str = "f32"
    keys: dict[tuple[int, int], Floats] = field(default_factory=dict)
    values: dict[tuple[int, int], Floats] = field(default_factory=dict)
    lengths: dict[int, int] = field(default_factory=dict)


@dataclass
class _Step:
    weights: Mapping[str, ReferenceWeight]
    batch: ReferenceBatch
    cache: ReferenceCache
    positions: list[int]


def quantize_rows(x: Floats, block: int) -> npt.NDArray[np.float64]:
    """Activations (n, width) after a trip through int8: d = max|x| / 127, nearest even."""
    blocks = x.reshape(-1, block)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    safe = np.where(largest < 1e-30, np.float32(1), largest)
    codes = np.rint(blocks * (np.float32(127) / safe)).astype(np.float32)
    scales = np.where(largest < 1e-30, np.float32(0), largest / np.float32(127))
    rounded: npt.NDArray[np.float64] = codes.astype(np.float64) * scales
    return rounded.reshape(x.shape)


def round_to_bf16(x: Floats) -> npt.NDArray[np.float64]:
    """Activations after a trip through bfloat16, nearest even."""
    bits = x.view(np.uint32)
    kept = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    rounded: npt.NDArray[np.float64] = kept.view(np.float32).astype(np.float64)
    return rounded


def round_to_cache(x: Floats, kv_type: str) -> Floats:
    """Keys or values (heads, head_dim) after a trip through a cache of that type.

    q8_0: blocks of 32 elements of a head, the last one short; d = max|x| / 127 as a half, codes
    = nearest even of x * (127 / max).
    """
    if kv_type != "q8_0":
        return x.astype({"f32": np.float32, "f16": np.float16}[kv_type]).astype(np.float32)
    n_heads, head_dim = x.shape
    blocks = np.pad(x, ((0, 0), (0, -head_dim % 32))).reshape(n_heads, -1, 32)
    largest = np.abs(blocks).max(axis=2, keepdims=True)
    safe = np.where(largest < 1e-30, np.float32(1), largest)
    codes = np.rint(blocks * (np.float32(127) / safe))
    scales = np.where(largest < 1e-30, np.float32(0), largest / np.float32(127))
    whole = codes * scales.astype(np.float16).astype(np.float32)
    rounded: Floats = whole.reshape(n_heads, -1)[:, :head_dim]
    return rounded


def run(
    graph: Graph,
    weights: Mapping[str, ReferenceWeight],
    batch: ReferenceBatch,
    cache: ReferenceCache,
) -> Floats:
    """Runs one step and extends the cache. Returns: (m, width) f32 of the last node."""
    seen: dict[int, int] = {}
    positions = []
    for sequence in batch.sequences:
        start = cache.lengths.get(sequence, 0)
        positions.append(start + seen.get(sequence, 0))
        seen[sequence] = seen.get(sequence, 0) + 1
    step = _Step(weights, batch, cache, positions)
    results: list[Floats] = []
    for index, node in enumerate(graph.nodes):
        inputs = [results[i] for i in node.inputs]
        results.append(TWINS[node.op](step, index, node, inputs).astype(np.float32))
    for sequence, n in seen.items():
        cache.lengths[sequence] = cache.lengths.get(sequence, 0) + n
    return results[-1]


def _weight(step: _Step, node: Node, which: int = 0) -> ReferenceWeight:
    name = node.weights[which]
    assert name is not None
    return step.weights[name]


def _embed(step: _Step, _index: int, node: Node, _inputs: list[Floats]) -> Floats:
    rows: Floats = _weight(step, node).values[np.asarray(step.batch.ids)]
    return rows


def _rms_norm(step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    x = inputs[0].astype(np.float64)
    eps = float(dict(node.attributes)["eps"])
    mean: npt.NDArray[np.float64] = (x * x).mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt(mean + eps)
    return (x * scale * _weight(step, node).values).astype(np.float32)


def _linear(step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    weight = _weight(step, node)
    x = inputs[0].astype(np.float64)
    if weight.activations.startswith("int8_"):
        x = quantize_rows(inputs[0], int(weight.activations.removeprefix("int8_")))
    elif weight.activations == "bf16":
        x = round_to_bf16(inputs[0])
    y: npt.NDArray[np.float64] = x @ weight.values.astype(np.float64).T
    if node.weights[1] is not None:
        y = y + _weight(step, node, 1).values
    return y.astype(np.float32)


def _rope_table(step: _Step, _index: int, node: Node, _inputs: list[Floats]) -> Floats:
    attributes = dict(node.attributes)
    dims, base = int(attributes["dims"]), float(attributes["base"])
    frequency = float(attributes["scale"]) / base ** (np.arange(0, dims, 2) / dims)
    if node.weights[0] is not None:
        frequency = frequency / _weight(step, node).values
    positions = np.asarray(step.positions, dtype=np.float32)
    angles = positions[:, None] * frequency.astype(np.float32)
    wide = angles.astype(np.float64)
    return np.concatenate([np.cos(wide), np.sin(wide)], axis=1).astype(np.float32)


def _rope(_step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    attributes = dict(node.attributes)
    n_heads, half = int(attributes["n_heads"]), int(attributes["dims"]) // 2
    x, table = inputs
    out = x.reshape(len(x), n_heads, -1).copy()
    if attributes["pairing"] == "interleaved":
        first, second = np.arange(0, 2 * half, 2), np.arange(1, 2 * half, 2)
    else:
        first, second = np.arange(half), np.arange(half, 2 * half)
    cosines, sines = table[:, None, :half], table[:, None, half:]
    a, b = out[..., first].copy(), out[..., second].copy()
    out[..., first] = a * cosines - b * sines
    out[..., second] = a * sines + b * cosines
    turned: Floats = out.reshape(x.shape)
    return turned


def _attention(step: _Step, index: int, node: Node, inputs: list[Floats]) -> Floats:
    attributes = dict(node.attributes)
    n_heads, n_kv_heads = int(attributes["n_heads"]), int(attributes["n_kv_heads"])
    group, scale = n_heads // n_kv_heads, float(attributes["scale"])
    q, k, v = inputs
    out = np.empty(q.shape, dtype=np.float64)
    for row, sequence in enumerate(step.batch.sequences):
        key, value = k[row].reshape(n_kv_heads, -1), v[row].reshape(n_kv_heads, -1)
        keys = _append(step.cache, step.cache.keys, (index, sequence), key)
        values = _append(step.cache, step.cache.values, (index, sequence), value)
        queries = q[row].astype(np.float64).reshape(n_kv_heads, group, -1)
        scores = np.einsum("hgd,nhd->hgn", queries, keys.astype(np.float64)) * scale
        shares = np.exp(scores - scores.max(axis=2, keepdims=True))
        shares /= shares.sum(axis=2, keepdims=True)
        out[row] = np.einsum("hgn,nhd->hgd", shares, values.astype(np.float64)).reshape(-1)
    return out.astype(np.float32)


def _append(
    cache: ReferenceCache,
    store: dict[tuple[int, int], Floats],
    key: tuple[int, int],
    row: Floats,
) -> Floats:
    rounded = round_to_cache(row, cache.kv_type)[None]
    old = store.get(key)
    grown: Floats = rounded if old is None else np.concatenate([old, rounded])
    store[key] = grown
    return grown


def _silu_mul(_step: _Step, _index: int, _node: Node, inputs: list[Floats]) -> Floats:
    gate, up = inputs[0].astype(np.float64), inputs[1].astype(np.float64)
    result: Floats = (gate / (1 + np.exp(-gate)) * up).astype(np.float32)
    return result


def _add(_step: _Step, _index: int, _node: Node, inputs: list[Floats]) -> Floats:
    total: Floats = inputs[0] + inputs[1]
    return total


def _output_rows(step: _Step, _index: int, _node: Node, inputs: list[Floats]) -> Floats:
    rows: Floats = inputs[0][np.asarray(step.batch.wanted, dtype=bool)]
    return rows


TWINS: dict[str, Callable[[_Step, int, Node, list[Floats]], Floats]] = {
    "embed": _embed,
    "rms_norm": _rms_norm,
    "linear": _linear,
    "rope_table": _rope_table,
    "rope": _rope,
    "attention": _attention,
    "silu_mul": _silu_mul,
    "add": _add,
    "output_rows": _output_rows,
}
"""One function an op, under the op's name."""
