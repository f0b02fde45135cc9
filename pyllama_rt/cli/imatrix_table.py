"""What an importance matrix says, as a table."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pyllama_rt.cli.streams import printable
from pyllama_rt.evaluate.importance_statistics import TensorStatistics, importance_statistics
from pyllama_rt.quant.importance import ImportanceMatrix

_WIDTH = 110
"""Of the table where no terminal says how wide it is."""

_COLUMNS = (
    "layer", "tokens", "experts", "mean", "largest", "active", "even", "top 1%", "like before",
)  # fmt: skip


def print_statistics(matrix: ImportanceMatrix) -> None:
    """One row for each input of matrices, then where the numbers come from, on stdout."""
    rows = importance_statistics(matrix)
    has_experts = any(row.n_mats > 1 for row in rows)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("input of")
    for name in _COLUMNS:
        if name != "experts" or has_experts:
            table.add_column(name, justify="right")
    kinds: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        cells = _cells(row)
        if not has_experts:
            del cells[_COLUMNS.index("experts")]
        kinds.setdefault(tuple(cells), []).append(row.kind.removesuffix(".weight"))
    for numbers, names in kinds.items():
        table.add_row(escape(printable(", ".join(names))), *numbers)
    console = Console()
    Console(width=None if console.is_terminal else _WIDTH).print(table)
    texts = ", ".join(matrix.datasets) or "unknown texts"
    print(
        printable(
            f"{matrix.source}: {len(rows)} tensors, {matrix.chunk_count} windows of "
            f"{matrix.chunk_size} tokens of {texts}"
        )
    )
    n_known = sum(1 for name in matrix.tensors if matrix.has_correlations(name))
    print(f"How columns go together: known of {n_known} of {len(rows)} tensors")


def _cells(row: TensorStatistics) -> list[str]:
    return [
        "-" if row.layer is None else str(row.layer),
        f"{row.n_rows:,}",
        "-" if row.n_mats == 1 else f"{row.n_seen} of {row.n_mats}",
        f"{row.mean:.4g}",
        f"{row.largest:.4g}",
        f"{row.active:.1%}",
        f"{row.evenness:.1%}",
        f"{row.top_share:.1%}",
        "-" if row.similarity is None else f"{row.similarity:.3f}",
    ]
