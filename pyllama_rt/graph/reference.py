"""The NumPy twin of every op: slow, plain, and the oracle for every backend.

Sums run in float64 and results are rounded to float32; where a backend rounds on purpose
(activations to int8, keys and values to the cache's type) the twin rounds the same way.
"""

from __future__ import annotations

import math
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
    """Rows of a step: token id and sequence of each, and whether its output is wanted.

    rope_alphas: of sequences whose rotary base is scaled.
    """

    ids: Sequence[int]
    sequences: Sequence[int]
    wanted: Sequence[bool]
    rope_alphas: Mapping[int, float] = field(default_factory=dict)


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
    attributes = dict(node.attributes)
    n_groups = int(attributes["groups"])
    x = inputs[0].astype(np.float64).reshape(len(inputs[0]), n_groups, -1)
    mean: npt.NDArray[np.float64] = (x * x).mean(axis=2, keepdims=True)
    y = x / np.sqrt(mean + float(attributes["eps"])) * _weight(step, node).values
    whole: Floats = y.astype(np.float32).reshape(len(y), -1)
    return whole


def _embed_positions(step: _Step, _index: int, node: Node, _inputs: list[Floats]) -> Floats:
    rows: Floats = _weight(step, node).values[np.asarray(step.positions)]
    return rows


def _layer_norm(step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    x = inputs[0].astype(np.float64)
    mean: npt.NDArray[np.float64] = x.mean(axis=1, keepdims=True)
    centred = x - mean
    variance: npt.NDArray[np.float64] = (centred * centred).mean(axis=1, keepdims=True)
    y = centred / np.sqrt(variance + float(dict(node.attributes)["eps"]))
    y = y * _weight(step, node).values
    if node.weights[1] is not None:
        y = y + _weight(step, node, 1).values
    normed: Floats = y.astype(np.float32)
    return normed


def _linear(step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    weight = _weight(step, node)
    x = _rounded(inputs[0], weight)
    y: npt.NDArray[np.float64] = x @ weight.values.astype(np.float64).T
    if node.weights[1] is not None:
        y = y + _weight(step, node, 1).values
    return y.astype(np.float32)


def _rounded(x: Floats, weight: ReferenceWeight) -> npt.NDArray[np.float64]:
    """Activations as they meet a weight."""
    if weight.activations.startswith("int8_"):
        return quantize_rows(x, int(weight.activations.removeprefix("int8_")))
    if weight.activations == "bf16":
        return round_to_bf16(x)
    return x.astype(np.float64)


def _slice(_step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    first = int(dict(node.attributes)["first"])
    columns: Floats = inputs[0][:, first : first + node.width]
    return columns


def _rope_table(step: _Step, _index: int, node: Node, _inputs: list[Floats]) -> Floats:
    attributes = dict(node.attributes)
    words = str(attributes["frequencies"]).split(",")
    frequency = np.array([float(word) for word in words])
    if node.weights[0] is not None:
        frequency = frequency / _weight(step, node).values
    alphas = np.array([step.batch.rope_alphas.get(s, 1.0) for s in step.batch.sequences])
    share = np.arange(len(frequency)) / max(len(frequency) - 1, 1)
    rows = (frequency / alphas[:, None] ** share).astype(np.float32)
    angles = np.asarray(step.positions, dtype=np.float32)[:, None] * rows
    wide = angles.astype(np.float64)
    table = np.concatenate([np.cos(wide), np.sin(wide)], axis=1)
    return (table * float(attributes["magnitude"])).astype(np.float32)


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
    n_kv_heads, group = int(attributes["n_kv_heads"]), _group(attributes)
    q, k, v = inputs
    out = np.empty(q.shape, dtype=np.float64)
    stored = [
        (
            _append(step.cache, step.cache.keys, (index, sequence), k[row].reshape(n_kv_heads, -1)),
            _append(
                step.cache, step.cache.values, (index, sequence), v[row].reshape(n_kv_heads, -1)
            ),
        )
        for row, sequence in enumerate(step.batch.sequences)
    ]
    for row, sequence in enumerate(step.batch.sequences):
        keys, values = stored[row]
        if not attributes["causal"]:
            keys = step.cache.keys[index, sequence]
            values = step.cache.values[index, sequence]
        first = max(0, len(keys) - int(attributes["window"])) if attributes["window"] else 0
        queries = q[row].astype(np.float64).reshape(n_kv_heads, group, -1)
        out[row] = _attend(queries, keys[first:], values[first:], attributes).reshape(-1)
    return out.astype(np.float32)


def _group(attributes: Mapping[str, float | int | str]) -> int:
    return int(attributes["n_heads"]) // int(attributes["n_kv_heads"])


def _attend(
    queries: npt.NDArray[np.float64],
    keys: Floats,
    values: Floats,
    attributes: Mapping[str, float | int | str],
) -> npt.NDArray[np.float64]:
    """One row's queries (kv heads, group, head_dim) over what they see (n, kv heads, head_dim)."""
    scores = np.einsum("hgd,nhd->hgn", queries, keys.astype(np.float64))
    scores = scores * float(attributes["scale"])
    cap = float(attributes["softcap"])
    if cap:
        scores = cap * np.tanh(scores / cap)
    shares = np.exp(scores - scores.max(axis=2, keepdims=True))
    shares /= shares.sum(axis=2, keepdims=True)
    mixed: npt.NDArray[np.float64] = np.einsum("hgn,nhd->hgd", shares, values.astype(np.float64))
    return mixed


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


def _gelu(_step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    x = inputs[0].astype(np.float64)
    if dict(node.attributes)["form"] == "tanh":
        return _gelu_by_tanh(x).astype(np.float32)
    erf: npt.NDArray[np.float64] = np.vectorize(math.erf)(x / math.sqrt(2))
    return (x / 2 * (1 + erf)).astype(np.float32)


def _gelu_by_tanh(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    y: npt.NDArray[np.float64] = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return x / 2 * (1 + y)


def _gelu_mul(_step: _Step, _index: int, _node: Node, inputs: list[Floats]) -> Floats:
    return (_gelu_by_tanh(inputs[0].astype(np.float64)) * inputs[1]).astype(np.float32)


def _softcap(_step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    cap = float(dict(node.attributes)["cap"])
    capped: Floats = (cap * np.tanh(inputs[0].astype(np.float64) / cap)).astype(np.float32)
    return capped


def _scale(_step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    scaled: Floats = inputs[0] * np.float32(dict(node.attributes)["factor"])
    return scaled


def _topk_route(_step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    attributes = dict(node.attributes)
    logits = inputs[0].astype(np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    chosen = np.argsort(-inputs[0], axis=1, kind="stable")[:, : int(attributes["n_used"])]
    shares = np.take_along_axis(shares, chosen, axis=1)
    if attributes["norm"]:
        shares = shares / shares.sum(axis=1, keepdims=True)
    return np.concatenate([chosen, shares], axis=1).astype(np.float32)


def _expert_linear(step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    attributes = dict(node.attributes)
    n_used = int(attributes["n_used"])
    weight = _weight(step, node)
    x, route = _rounded(inputs[0], weight), inputs[1]
    parts = [x] * n_used if attributes["shared"] else np.split(x, n_used, axis=1)
    chosen = route[:, :n_used].astype(int)
    results = [
        np.einsum("nk,nwk->nw", part, weight.values[chosen[:, i]].astype(np.float64))
        for i, part in enumerate(parts)
    ]
    return np.concatenate(results, axis=1).astype(np.float32)


def _expert_sum(_step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    x, route = inputs
    n_used = route.shape[1] // 2
    parts = x.astype(np.float64).reshape(len(x), n_used, node.width)
    total: Floats = np.einsum("niw,ni->nw", parts, route[:, n_used:]).astype(np.float32)
    return total


def _add_row(step: _Step, _index: int, node: Node, inputs: list[Floats]) -> Floats:
    total: Floats = inputs[0] + _weight(step, node).values[int(dict(node.attributes)["row"])]
    return total


def _add(_step: _Step, _index: int, _node: Node, inputs: list[Floats]) -> Floats:
    total: Floats = inputs[0] + inputs[1]
    return total


def _output_rows(step: _Step, _index: int, _node: Node, inputs: list[Floats]) -> Floats:
    rows: Floats = inputs[0][np.asarray(step.batch.wanted, dtype=bool)]
    return rows


TWINS: dict[str, Callable[[_Step, int, Node, list[Floats]], Floats]] = {
    "embed": _embed,
    "embed_positions": _embed_positions,
    "rms_norm": _rms_norm,
    "layer_norm": _layer_norm,
    "linear": _linear,
    "slice": _slice,
    "rope_table": _rope_table,
    "rope": _rope,
    "attention": _attention,
    "silu_mul": _silu_mul,
    "gelu": _gelu,
    "gelu_mul": _gelu_mul,
    "softcap": _softcap,
    "scale": _scale,
    "add": _add,
    "add_row": _add_row,
    "topk_route": _topk_route,
    "expert_linear": _expert_linear,
    "expert_sum": _expert_sum,
    "output_rows": _output_rows,
}
"""One function an op, under the op's name."""
