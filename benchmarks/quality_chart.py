"""The picture of a comparison of quantisers: divergence of both, mix by mix."""

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

    mixes = sorted(
        {r.mix: r.ours.n_bytes for r in rows if not r.guided}.items(), key=lambda m: m[1]
    )
    place = {mix: i for i, (mix, _) in enumerate(mixes)}
    figure, grid = pyplot.subplots(
        1, 2, figsize=(10, 1.4 + 0.24 * len(mixes)), sharex=True, sharey=True
    )
    for axes, guided in zip(grid, (False, True), strict=True):
        chosen = [r for r in rows if r.guided == guided]
        at = [place[r.mix] for r in chosen]
        ours, peer = [r.ours.kl for r in chosen], [r.peer.kl for r in chosen]
        axes.hlines(at, ours, peer, color="#999999", lw=1, zorder=0)
        axes.plot(peer, at, "o", color=PEER_COLOUR, label="llama.cpp")
        axes.plot(ours, at, "D", color=OURS_COLOUR, markersize=5, label="pyllama-rt")
        axes.set(xscale="log", xlabel="mean KL divergence from the float model (nats)")
        axes.set_title(f"{'with' if guided else 'without'} importance matrix", fontsize=10)
        axes.grid(visible=True, alpha=0.3)
    grid[0].set_yticks(
        range(len(mixes)), [f"{mix}  {n_bytes / 2**20:.2f} MiB" for mix, n_bytes in mixes]
    )
    grid[0].invert_yaxis()
    grid[1].legend(frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(out, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return True
