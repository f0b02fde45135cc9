"""What a file of tensors holds or will hold, in words and as a table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pyllama_rt.cli.streams import printable
from pyllama_rt.quant.importance import ImportanceMatrix
from pyllama_rt.quant.plan import Plan, PlannedTensor

_COLUMNS = ("tensor", "shape", "from", "to", "bytes")


def print_table(plan: Plan) -> None:
    """Every tensor with shape, types and size on stdout, then the totals."""
    console = Console(soft_wrap=True)
    if console.is_terminal:
        table = Table(*_COLUMNS)
        table.columns[-1].justify = "right"
        for row in plan.tensors:
            table.add_row(*map(escape, _cells(row)))
        console.print(table)
    else:
        width = max(len(tensor.name) for tensor in plan.tensors)
        for name, shape, source, target, n_bytes in map(_cells, plan.tensors):
            print(f"{name:{width}}  {shape:>14}  {source:>6} -> {target:<18}  {n_bytes:>15}")
    print(f"{plan.mix.name}: {_totals(plan)}")
    _print_fallbacks(plan, Console(stderr=True))


def print_written(out: Path, plan: Plan) -> None:
    """One line on stderr about a file that was written."""
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    console.print(printable(f"{out}: {plan.mix.name}, {_totals(plan)}"))
    _print_fallbacks(plan, console)


def print_unguided(plan: Plan, importance: ImportanceMatrix) -> None:
    """A note about layers that an importance matrix says nothing of."""
    missing = [
        tensor.name
        for tensor in plan.tensors
        if tensor.type.is_quantized
        and tensor.name.startswith("blk.")
        and tensor.name not in importance.tensors
    ]
    if missing:
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(
            f"note: {importance.source} says nothing of {len(missing)} weights in layers, as "
            f"{printable(missing[0])}; they are quantised as without it"
        )


def _cells(tensor: PlannedTensor) -> tuple[str, ...]:
    target = tensor.type.name
    if tensor.type != tensor.wanted:
        target += f" (not {tensor.wanted.name})"
    shape = " x ".join(map(str, tensor.shape))
    return tensor.name, shape, tensor.source.name, target, f"{tensor.n_bytes:,}"


def _totals(plan: Plan) -> str:
    n_bytes = plan.n_bytes
    return (
        f"{len(plan.tensors)} tensors, {n_bytes:,} bytes ({n_bytes / 2**30:.2f} GiB), "
        f"{plan.bits_per_weight:.2f} bits per weight"
    )


def _print_fallbacks(plan: Plan, console: Console) -> None:
    counts = Counter((tensor.wanted.name, tensor.type.name) for tensor in plan.fallbacks)
    for (wanted, found), n in sorted(counts.items()):
        console.print(
            f"note: {n} tensors are {found} instead of {wanted}, whose blocks do not divide "
            "their rows",
            soft_wrap=True,
            highlight=False,
        )
