"""Builds a graph: a list of nodes as plain data, with the weights that they name checked.

The text form of a graph is what the C++ side reads, one node a line:

    %3 = linear %2 @blk.0.attn_q.weight @- -> n 256

`%` is the number of a value, `@` the name of a weight (`@-`: absent), `n` or `m` the rows of the
result (rows of the step, or rows that asked for an output), the last number its width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyllama_rt.errors import FormatError, ShapeError, UnsupportedError, did_you_mean
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

    def without_head(self) -> Graph:
        """The graph that ends with the last hidden states: without what follows the last norm."""
        ends = ("output_rows", "rms_norm", "layer_norm")
        last = max(i for i, node in enumerate(self.nodes) if node.rows == "m" and node.op in ends)
        return Graph(self.nodes[: last + 1])

    def to_text(self) -> str:
        """The graph as text, in the form that `_core.Program` reads."""
        lines = [f"plrt-graph {GRAPH_VERSION}"]
        for index, node in enumerate(self.nodes):
            words = [f"%{index} =", node.op]
            words += [f"%{i}" for i in node.inputs]
            words += [f"@{name or '-'}" for name in node.weights]
            defaults = OPS[node.op].attributes
            for key, value in node.attributes:
                if value != defaults[key]:
                    words.append(f"{key}={value!r}".replace("'", ""))
            lines.append(" ".join([*words, "->", node.rows, str(node.width)]))
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class LowRankPair:
    """What an adapter adds to a weight: scale * b · a, by the names of two matrices.

    a: (rank, columns); of an embedding (vocabulary, rank). b: (rows, rank).
    """

    a: str
    b: str
    rank: int
    scale: float


@dataclass
class GraphBuilder:
    """Emits nodes; one method an op.

    shapes: shape of every tensor of the file by name, in NumPy order (rows, columns).
    adapters: by the name of the weight that they change, in the order in which they are added.
    Source of adapters: arXiv:2106.09685, section 4.1.
    """

    shapes: Mapping[str, tuple[int, ...]]
    source: str = "model"
    adapters: Mapping[str, Sequence[LowRankPair]] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    embedded: set[str] = field(default_factory=set)
    adapted: set[str] = field(default_factory=set)

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
                f"{op}: expected attributes {tuple(spec.attributes)}, found {tuple(attributes)}"
            )
        index = len(self.nodes)
        ordered = tuple((key, attributes[key]) for key in spec.attributes)
        self.nodes.append(Node(op, tuple(v.index for v in inputs), weights, ordered, rows, width))
        return Value(index, rows, width)

    def embed(self, weight: str, vocab_size: int, dim: int) -> Value:
        """Rows of the embedding matrix for the ids of the step: (n, dim)."""
        x = self._emit("embed", (), (self._weight(weight, vocab_size, dim),), dim)
        self.adapted.add(weight)
        self.embedded.add(weight)  # where it is the head as well, that stays as it is
        for pair in self.adapters.get(weight, ()):
            low = self._emit("embed", (), (pair.a,), pair.rank)
            x = self._adapted(x, low, pair)
        return x

    def embed_positions(self, weight: str, n_positions: int, dim: int) -> Value:
        """Rows of a matrix for the positions of the step: (n, dim)."""
        return self._emit("embed_positions", (), (self._weight(weight, n_positions, dim),), dim)

    def rms_norm(self, x: Value, weight: str, eps: float, groups: int = 1) -> Value:
        """x / sqrt(mean(x²) + eps) * weight, row by row, or for each of `groups` parts of a row.

        Source: arXiv:1910.07467, eq. 4.
        """
        if x.width % groups:
            raise ShapeError(f"rms_norm: expected {groups} groups of a width, found {x.width}")
        name = self._weight(weight, x.width // groups)
        return self._emit("rms_norm", (x,), (name,), x.width, x.rows, eps=float(eps), groups=groups)

    def layer_norm(self, x: Value, weight: str, bias: str | None, eps: float) -> Value:
        """(x - mean) / sqrt(variance + eps) * weight + bias. Source: arXiv:1607.06450, eq. 4."""
        names = (self._weight(weight, x.width), bias and self._weight(bias, x.width))
        return self._emit("layer_norm", (x,), names, x.width, x.rows, eps=float(eps))

    def linear(self, x: Value, weight: str, width: int, bias: str | None = None) -> Value:
        """x · Wᵀ (+ bias), W being (width, x.width)."""
        names = (self._weight(weight, width, x.width), bias and self._weight(bias, width))
        y = self._emit("linear", (x,), names, width, x.rows)
        self.adapted.add(weight)
        for pair in self.adapters.get(weight, ()) if weight not in self.embedded else ():
            low = self._emit("linear", (x,), (pair.a, None), pair.rank, x.rows)
            y = self._adapted(y, low, pair)
        return y

    def _adapted(self, y: Value, low: Value, pair: LowRankPair) -> Value:
        """y + scale * b · low."""
        delta = self._emit("linear", (low,), (pair.b, None), y.width, y.rows)
        return self.add(y, self.scale(delta, pair.scale))

    def slice(self, x: Value, first: int, width: int) -> Value:
        """Columns first … first + width - 1 of x."""
        if first < 0 or width < 1 or first + width > x.width:
            raise ShapeError(f"slice: expected columns of {x.width}, found {width} from {first}")
        return self._emit("slice", (x,), (), width, x.rows, first=first)

    def rope_table(
        self, frequencies: Sequence[float], factors: str | None = None, magnitude: float = 1.0
    ) -> Value:
        """Cosines, then sines, of position * frequencies[i] / factors[i], times magnitude.

        Returns: (n, 2 * len(frequencies)). A sequence whose rotary base is scaled by alpha (see
            `_core.KvCache.create`) turns pair i alpha^(i / (len - 1)) times as slowly.
        Source: arXiv:2104.09864, section 3.2.2.
        """
        half = len(frequencies)
        return self._emit(
            "rope_table", (), (factors and self._weight(factors, half),), 2 * half,
            dims=2 * half, frequencies=",".join(map(repr, map(float, frequencies))),
            magnitude=float(magnitude),
        )  # fmt: skip

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
        window: int = 0,
        softcap: float = 0.0,
        causal: bool = True,
    ) -> Value:
        """Appends k and v to the cache, then softmax(q·kᵀ·scale)·v over the sequence.

        q is (n, n_heads * head_dim), k and v are (n, n_kv_heads * head_dim).
        Args: window: a row sees itself and the window - 1 rows before it; 0 for all. softcap:
            scores become softcap * tanh(score / softcap) first; 0 for none. causal: whether a row
            sees what follows it in the same step.
        Source: arXiv:1706.03762, section 3.2; arXiv:2310.06825 (window); arXiv:2408.00118 (cap).
        """
        if q.width != n_heads * head_dim or not k.width == v.width == n_kv_heads * head_dim:
            raise ShapeError(
                f"attention: expected widths of {n_heads} and {n_kv_heads} heads of {head_dim}, "
                f"found {q.width}, {k.width}, {v.width}"
            )
        return self._emit(
            "attention", (q, k, v), (), q.width,
            n_heads=n_heads, n_kv_heads=n_kv_heads, head_dim=head_dim, scale=float(scale),
            window=window, softcap=float(softcap), causal=int(causal),
        )  # fmt: skip

    def silu_mul(self, gate: Value, up: Value) -> Value:
        """silu(gate) * up. Source: arXiv:2002.05202, SwiGLU."""
        return self._emit("silu_mul", (gate, up), (), gate.width, gate.rows)

    def gelu(self, x: Value, form: str) -> Value:
        """gelu(x); form is "tanh" for the approximation, or "erf".

        Source: arXiv:1606.08415, section 2.
        """
        return self._emit("gelu", (x,), (), x.width, x.rows, form=form)

    def gelu_mul(self, gate: Value, up: Value) -> Value:
        """gelu(gate) * up, by tanh. Source: arXiv:2002.05202, GEGLU."""
        return self._emit("gelu_mul", (gate, up), (), gate.width, gate.rows)

    def softcap(self, x: Value, cap: float) -> Value:
        """cap * tanh(x / cap). Source: arXiv:2408.00118, section 2."""
        return self._emit("softcap", (x,), (), x.width, x.rows, cap=float(cap))

    def scale(self, x: Value, factor: float) -> Value:
        """x * factor."""
        return self._emit("scale", (x,), (), x.width, x.rows, factor=float(factor))

    def add(self, a: Value, b: Value) -> Value:
        """a + b."""
        if a.width != b.width:
            raise ShapeError(f"add: expected equal widths, found {a.width} and {b.width}")
        return self._emit("add", (a, b), (), a.width, a.rows)

    def add_row(self, x: Value, weight: str, n_rows: int, row: int) -> Value:
        """x + one row of a matrix of n_rows rows."""
        name = self._weight(weight, n_rows, x.width)
        return self._emit("add_row", (x,), (name,), x.width, x.rows, row=row)

    def topk_route(self, logits: Value, n_used: int, *, norm: bool = True) -> Value:
        """The n_used experts with the largest logits: (n, 2 * n_used).

        A row holds their numbers, then their shares: the softmax over all experts, divided by its
        sum over the chosen ones if `norm`. Source: arXiv:2401.04088, section 2.1.
        """
        if not 1 <= n_used <= logits.width:
            raise ShapeError(f"topk_route: expected 1 to {logits.width} experts, found {n_used}")
        return self._emit(
            "topk_route", (logits,), (), 2 * n_used, logits.rows, n_used=n_used, norm=int(norm)
        )

    def expert_linear(
        self, x: Value, route: Value, weight: str, *, n_experts: int, width: int, shared: bool
    ) -> Value:
        """x · Wᵀ with the matrix of each expert that the route names: (n, n_used * width).

        W is (n_experts, width, k). With `shared` all experts of a row take the same k columns,
        else each its own of n_used * k.
        """
        n_used = route.width // 2
        k = x.width if shared else x.width // n_used
        return self._emit(
            "expert_linear", (x, route), (self._weight(weight, n_experts, width, k),),
            n_used * width, x.rows, n_experts=n_experts, n_used=n_used, shared=int(shared),
        )  # fmt: skip

    def expert_sum(self, x: Value, route: Value) -> Value:
        """The sum of the experts' results, (n, n_used * width), times their shares: (n, width)."""
        n_used = route.width // 2
        return self._emit("expert_sum", (x, route), (), x.width // n_used, x.rows, n_used=n_used)

    def output_rows(self, x: Value) -> Value:
        """The rows of x that asked for an output: (m, width)."""
        return self._emit("output_rows", (x,), (), x.width, "m")

    def build(self, ignored: tuple[str, ...] = ()) -> Graph:
        """The finished graph.

        Raises: FormatError if the file holds a tensor that no node used and `ignored` lacks.
        """
        unused = sorted(set(self.adapters) - self.adapted)
        if unused:
            raise UnsupportedError(
                f"{self.source}: an adapter changes {unused[0]!r}, which merge-lora can do, "
                "but not a model that runs"
            )
        extra = sorted(set(self.shapes) - self.used - set(ignored))
        if extra:
            raise FormatError(
                f"{self.source}: {len(extra)} tensors that this architecture does not have, "
                f"first {extra[0]!r}{did_you_mean(extra[0], self.used)}"
            )
        return Graph(tuple(self.nodes))
