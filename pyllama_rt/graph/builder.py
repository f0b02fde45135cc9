"""Builds a graph: a list of nodes as plain data, with the weights that they name checked.

The text form of a graph is what the C++ side reads, one node a line:

    %3 = linear %2 @blk.0.attn_q.weight @- -> n 256

`%` is the number of a value, `@` the name of a weight (`@-`: absent), `n` or `m` the rows of the
result (rows of the step, or rows that asked for an output), the last number its width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyllama_rt.errors import FormatError, ShapeError, did_you_mean
from pyllama_rt.graph.ops import OPS

GRAPH_VERSION = 1


@dataclass(frozen=True, slots=True)
class Value:
    """The result of a node: rows x width floats."""

    index: int
    rows: str
    width: int


@dataclass(frozen=True, slots=True)
class Node:
    """One operation, named as in csrc/graph/ops.def."""

    op: str
    inputs: tuple[int, ...]
    weights: tuple[str | None, ...]
    attributes: tuple[tuple[str, float | int | str], ...]
    rows: str
    width: int


@dataclass(frozen=True, slots=True)
class Graph:
    """A finished graph. Its last node is the output."""

    nodes: tuple[Node, ...]

    def to_text(self) -> str:
        """The graph as text, in the form that `_core.Program` reads."""
        lines = [f"plrt-graph {GRAPH_VERSION}"]
        for index, node in enumerate(self.nodes):
            words = [f"%{index} =", node.op]
            words += [f"%{i}" for i in node.inputs]
            words += [f"@{name or '-'}" for name in node.weights]
            words += [f"{key}={value!r}".replace("'", "") for key, value in node.attributes]
            lines.append(" ".join([*words, "->", node.rows, str(node.width)]))
        return "\n".join(lines) + "\n"


@dataclass
class GraphBuilder:
    """Emits nodes; one method an op.

    shapes: shape of every tensor of the file by name, in NumPy order (rows, columns).
    """

    shapes: Mapping[str, tuple[int, ...]]
    source: str = "model"
    nodes: list[Node] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def has(self, name: str) -> bool:
        """Whether the file holds a tensor of that name."""
        return name in self.shapes

    def _weight(self, name: str, *shape: int) -> str:
        """Marks a weight as used.

        Raises: FormatError if it is absent, or its shape is another than expected.
        """
        found = self.shapes.get(name)
        if found is None:
            hint = did_you_mean(name, self.shapes)
            raise FormatError(f"{self.source}: tensor {name!r} is missing{hint}")
        if tuple(found) != shape:
            raise FormatError.at(self.source, f"tensor {name!r} shape", expected=shape, found=found)
        self.used.add(name)
        return name

    def _emit(
        self,
        op: str,
        inputs: tuple[Value, ...],
        weights: tuple[str | None, ...],
        width: int,
        rows: str = "n",
        **attributes: float | int | str,
    ) -> Value:
        spec = OPS[op]
        if (len(inputs), len(weights)) != (spec.n_values, spec.n_weights):
            raise ShapeError(
                f"{op}: expected {spec}, found {len(inputs)} values, {len(weights)} weights"
            )
        if set(attributes) != set(spec.attributes):
            raise ShapeError(
                f"{op}: expected attributes {spec.attributes}, found {tuple(attributes)}"
            )
        index = len(self.nodes)
        ordered = tuple((key, attributes[key]) for key in spec.attributes)
        self.nodes.append(Node(op, tuple(v.index for v in inputs), weights, ordered, rows, width))
        return Value(index, rows, width)

    def embed(self, weight: str, vocab_size: int, dim: int) -> Value:
        """Rows of the embedding matrix for the ids of the step: (n, dim)."""
        return self._emit("embed", (), (self._weight(weight, vocab_size, dim),), dim)

    def rms_norm(self, x: Value, weight: str, eps: float) -> Value:
        """x / sqrt(mean(x²) + eps) * weight, row by row. Source: arXiv:1910.07467, eq. 4."""
        name = self._weight(weight, x.width)
        return self._emit("rms_norm", (x,), (name,), x.width, x.rows, eps=float(eps))

    def linear(self, x: Value, weight: str, width: int, bias: str | None = None) -> Value:
        """x · Wᵀ (+ bias), W being (width, x.width)."""
        names = (self._weight(weight, width, x.width), bias and self._weight(bias, width))
        return self._emit("linear", (x,), names, width, x.rows)

    def rope_table(
        self, dims: int, base: float, scale: float = 1.0, factors: str | None = None
    ) -> Value:
        """cos and sin of position * scale / (base^(2i/dims) * factors[i]): (n, dims).

        Row layout: dims/2 cosines, then dims/2 sines. Source: arXiv:2104.09864, section 3.2.2;
        scale < 1 is position interpolation, arXiv:2306.15595.
        """
        names = (factors and self._weight(factors, dims // 2),)
        return self._emit(
            "rope_table", (), names, dims, dims=dims, base=float(base), scale=float(scale)
        )

    def rope(self, x: Value, table: Value, *, n_heads: int, head_dim: int, pairing: str) -> Value:
        """Rotates the first `table.width` elements of each head.

        pairing: "interleaved" turns (0, 1), (2, 3) …; "half" turns (0, dims/2), (1, dims/2+1) ….
        """
        if x.width != n_heads * head_dim:
            raise ShapeError(f"rope: expected width {n_heads} x {head_dim}, found {x.width}")
        return self._emit(
            "rope", (x, table), (), x.width, x.rows,
            n_heads=n_heads, head_dim=head_dim, dims=table.width, pairing=pairing,
        )  # fmt: skip

    def attention(
        self,
        q: Value,
        k: Value,
        v: Value,
        *,
        n_heads: int,
        n_kv_heads: int,
        head_dim: int,
        scale: float,
    ) -> Value:
        """Appends k and v to the cache, then causal softmax(q·kᵀ·scale)·v over the sequence.

        q is (n, n_heads * head_dim), k and v are (n, n_kv_heads * head_dim).
        """
        if q.width != n_heads * head_dim or not k.width == v.width == n_kv_heads * head_dim:
            raise ShapeError(
                f"attention: expected widths of {n_heads} and {n_kv_heads} heads of {head_dim}, "
                f"found {q.width}, {k.width}, {v.width}"
            )
        return self._emit(
            "attention", (q, k, v), (), q.width,
            n_heads=n_heads, n_kv_heads=n_kv_heads, head_dim=head_dim, scale=float(scale),
        )  # fmt: skip

    def silu_mul(self, gate: Value, up: Value) -> Value:
        """silu(gate) * up. Source: arXiv:2002.05202, SwiGLU."""
        return self._emit("silu_mul", (gate, up), (), gate.width, gate.rows)

    def add(self, a: Value, b: Value) -> Value:
        """a + b."""
        if a.width != b.width:
            raise ShapeError(f"add: expected equal widths, found {a.width} and {b.width}")
        return self._emit("add", (a, b), (), a.width, a.rows)

    def output_rows(self, x: Value) -> Value:
        """The rows of x that asked for an output: (m, width)."""
        return self._emit("output_rows", (x,), (), x.width, "m")

    def build(self, ignored: tuple[str, ...] = ()) -> Graph:
        """The finished graph.

        Raises: FormatError if the file holds a tensor that no node used and `ignored` lacks.
        """
        extra = sorted(set(self.shapes) - self.used - set(ignored))
        if extra:
            raise FormatError(
                f"{self.source}: {len(extra)} tensors that this architecture does not have, "
                f"first {extra[0]!r}{did_you_mean(extra[0], self.used)}"
            )
        return Graph(tuple(self.nodes))
