"""The picture of a QualityReport: what each level loses over the size of its file."""

from __future__ import annotations

import io
import math
from typing import Any

from pyllama_rt.cli.quality_report import Setting, file_unit
from pyllama_rt.evaluate.quality import QualityReport, QualityRow
from pyllama_rt.evaluate.recommend import INVISIBLE, LARGE, SMALL, recommend

_COLOUR, _BEST_COLOUR, _LINE_COLOUR = "#1f6f8b", "#c2571a", "#777777"
_STYLE = {
    "svg.hashsalt": "pyllama-rt",  # so that the same figures give the same file
    "svg.fonttype": "none",
    "axes.formatter.useoffset": False,
    "font.size": 10,
}
_SIZE = (8.0, 7.0)  # inches
_NEAR = 0.1
"""Share of the width; labels of points that are nearer would run into one another."""


def draw(report: QualityReport, setting: Setting) -> dict[str, bytes]:
    """The same picture as "svg" and "png"; nothing if matplotlib is not installed."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return {}
    with rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        _ratios(upper, report)
        _divergences(lower, report)
        unit, _ = file_unit(report)
        lower.set_xlabel(f"size of the file ({unit})")
        figure.suptitle(
            f"{setting.model} on {setting.text}, {report.windows.n_tokens:,} tokens scored",
            fontsize=11,
        )
        return {
            "svg": _saved(figure, "svg", metadata={"Date": None}),
            "png": _saved(figure, "png", dpi=150),
        }


def _saved(figure: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=kind, **options)
    return file.getvalue()


def _ratios(axes: Any, report: QualityReport) -> None:
    base = report.base
    axes.axhline(1, color=_LINE_COLOUR, linewidth=1)
    axes.text(
        1, 1, f"{base.level}: perplexity {base.perplexity.value:.3f}\nbold: recommended",
        transform=axes.transAxes, ha="right", va="top", color=_LINE_COLOUR, fontsize=9,
    )  # fmt: skip
    _points(axes, report, [(row.ratio.value, row.ratio.error) for row in report.rows])
    axes.set_ylabel(f"perplexity ÷ that of {base.level}")


def _divergences(axes: Any, report: QualityReport) -> None:
    # A logarithmic axis has no place for 0, which only a file of the same weights has.
    values = [(row.kl.value if row.kl.value > 0 else math.nan, row.kl.error) for row in report.rows]
    axes.set_yscale("log")
    _points(axes, report, values)
    axes.set_ylabel("mean KL divergence (nats a token)")
    low, high = axes.get_ylim()
    for limit in (INVISIBLE, SMALL, LARGE):
        y = math.log1p(limit)
        if low <= y <= high:
            axes.axhline(y, color=_LINE_COLOUR, linewidth=1, linestyle="dotted")
            axes.annotate(
                f"{100 * limit:g}% loss", (1, y), xycoords=("axes fraction", "data"),
                xytext=(-3, 2), textcoords="offset points",
                ha="right", va="bottom", color=_LINE_COLOUR, fontsize=9,
            )  # fmt: skip


def _points(axes: Any, report: QualityReport, values: list[tuple[float, float]]) -> None:
    """One for each level with its error and its name; the recommended ones stand out."""
    _, n_bytes = file_unit(report)
    found = recommend(report)
    sizes = [row.n_bytes / n_bytes for row in report.rows]
    places = _label_places(report.rows)
    for row, x, (y, error), above in zip(report.rows, sizes, values, places, strict=True):
        is_best = row in (found.best, found.nearest)
        axes.errorbar(
            x, y, yerr=error, marker="o", markersize=7, capsize=3, linewidth=1,
            color=_BEST_COLOUR if is_best else _COLOUR,
        )  # fmt: skip
        axes.annotate(
            row.level, (x, y + error if above else y - error),
            xytext=(0, 7 if above else -7), textcoords="offset points",
            ha="center", va="bottom" if above else "top", fontsize=9,
            fontweight="bold" if is_best else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )  # fmt: skip
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.08, y=0.18)


def _label_places(rows: tuple[QualityRow, ...]) -> list[bool]:
    """Whether each label goes above its point: neighbours that are near take turns."""
    near = _NEAR * (rows[-1].n_bytes - rows[0].n_bytes)
    places: list[bool] = []
    for i, row in enumerate(rows):
        is_near = i > 0 and row.n_bytes - rows[i - 1].n_bytes < near
        places.append(not (is_near and places[-1]))
    return places
