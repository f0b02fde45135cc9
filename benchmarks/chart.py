"""The chart of a comparison: speeds by type, beside what the machine would allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from score import KINDS, Row

OURS_COLOUR, PEER_COLOUR, BOUND_COLOUR = "#1f6f8b", "#c9a66b", "#444444"
TITLES = {
    "prompt": ("Reading a prompt", "int8 peak"),
    "generate": ("Generating", "read bandwidth"),
}
BOUND_LABEL = "machine's bound (int8 peak, read bandwidth)"
WIDTH = 0.38
"""Of one bar, where types stand one apart."""


def draw(rows: list[Row], title: str, out: Path) -> bool:
    """Writes the chart as SVG; False if matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "pyllama-rt", "svg.fonttype": "none"})
    from matplotlib import pyplot

    threads = sorted({row.threads for row in rows})
    figure, grid = pyplot.subplots(
        len(threads), 2, figsize=(11, 0.7 + 2.9 * len(threads)), squeeze=False
    )
    for line, n_threads in zip(grid, threads, strict=True):
        for axes, kind in zip(line, KINDS, strict=True):
            chosen = [r for r in rows if r.threads == n_threads and r.kind == kind]
            _panel(axes, chosen, kind, n_threads)
    figure.suptitle(title, fontsize=10)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0.04 if len(threads) > 1 else 0.07, 1, 1))
    figure.savefig(out, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return True


def _panel(axes: Any, rows: list[Row], kind: str, n_threads: int) -> None:
    """One kind with one number of threads."""
    words, bound = TITLES[kind]
    places = range(len(rows))
    ours = axes.bar(
        [x - WIDTH / 2 for x in places], [r.ours for r in rows], WIDTH,
        color=OURS_COLOUR, label="pyllama-rt",
    )  # fmt: skip
    peers = axes.bar(
        [x + WIDTH / 2 for x in places], [r.peer or 0 for r in rows], WIDTH,
        color=PEER_COLOUR, label="llama-cpp-python, better buffers",
    )  # fmt: skip
    inside = {"label_type": "center", "fontsize": 6.5}  # above, the dashes would cross them
    axes.bar_label(ours, fmt="%.0f", color="white", **inside)
    axes.bar_label(peers, [f"{r.peer:.0f}" if r.peer else "" for r in rows], **inside)
    for x, row in zip(places, rows, strict=True):
        if row.bound is not None:
            axes.hlines(
                row.bound, x - WIDTH, x + WIDTH, colors=BOUND_COLOUR, linestyles="dashed",
                linewidth=1, label=BOUND_LABEL if x == 0 else None,
            )  # fmt: skip
    names = [r.type for r in rows]
    axes.set_xticks(list(places), names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_ylabel("tokens per second")
    plural = "s" if n_threads > 1 else ""
    axes.set_title(f"{words}, {n_threads} thread{plural} (dashed: {bound})", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
