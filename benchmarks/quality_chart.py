"""The picture of a comparison of quantisers: divergence over file size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quality import Row

OURS_COLOUR, PEER_COLOUR = "#1f6f8b", "#c9a66b"


def draw(rows: Sequence[Row], title: str, out: Path) -> bool:
    """Writes the picture as SVG; False if matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "pyllama-rt", "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    for axes, guided in zip(grid, (False, True), strict=True):
        chosen = sorted((r for r in rows if r.guided == guided), key=lambda r: r.ours.n_bytes)
        for name, colour, marker in (("peer", PEER_COLOUR, "o"), ("ours", OURS_COLOUR, "D")):
            scores = [row.peer if name == "peer" else row.ours for row in chosen]
            label = "llama.cpp" if name == "peer" else "pyllama-rt"
            sizes = [s.n_bytes / 2**20 for s in scores]
            axes.plot(sizes, [s.kl for s in scores], marker, color=colour, label=label)
        for row in chosen:
            x = row.ours.n_bytes / 2**20
            axes.plot([x, x], [row.ours.kl, row.peer.kl], color="#999999", lw=0.8, zorder=0)
            axes.annotate(
                row.mix, (x, min(row.ours.kl, row.peer.kl)), xytext=(0, -7), ha="center", va="top",
                textcoords="offset points", fontsize=6.5, rotation=60,
            )  # fmt: skip
        axes.set(yscale="log", xlabel="file size (MiB)")
        axes.set_title(f"{'with' if guided else 'without'} importance matrix", fontsize=10)
        axes.grid(visible=True, alpha=0.3)
        axes.margins(y=0.18)
    grid[0].set_ylabel("mean KL divergence from the float model (nats)")
    grid[1].legend(frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(out, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return True
