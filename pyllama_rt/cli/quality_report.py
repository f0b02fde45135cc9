"""What `pyllama-rt quality` found: a table with a recommendation, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from pyllama_rt import __version__
from pyllama_rt.cli.streams import printable
from pyllama_rt.engine.machine import instruction_sets, processor_name
from pyllama_rt.evaluate.estimate import Estimate
from pyllama_rt.evaluate.quality import (
    GENERATED_TOKENS,
    PROMPT_TOKENS,
    QualityReport,
    QualityRow,
)
from pyllama_rt.evaluate.recommend import INVISIBLE, LARGE, SMALL, loss, recommend

_WIDTH = 124
"""Of the table with errors, which a narrower terminal gets without them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What was measured where. Names only, so that a report can be published.

    imatrix: the importance matrix that the levels were quantised with, "" for none.
    """

    model: str
    text: str
    processor: str
    instruction_set: str
    date: str
    imatrix: str = ""

    @classmethod
    def of(cls, model: Path, text: str, imatrix: Path | None = None) -> Setting:
        """On this machine, now."""
        return cls(
            model=printable(model.name),
            text="standard input" if text == "-" else printable(Path(text).name),
            processor=processor_name() or "unknown processor",
            instruction_set=next(isa.name for isa in instruction_sets() if isa.is_selected),
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            imatrix="" if imatrix is None else printable(imatrix.name),
        )


def file_unit(report: QualityReport) -> tuple[str, int]:
    """Name and bytes of the unit that suits the sizes of these files."""
    return ("GiB", 1 << 30) if report.base.n_bytes >= 1 << 30 else ("MiB", 1 << 20)


def print_report(report: QualityReport, setting: Setting) -> None:
    """On stdout."""
    console = Console()
    width = console.width if console.is_terminal else _WIDTH
    is_wide = width >= _WIDTH
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False,
        padding=(0, 1 if is_wide else 0, 0, 0),
    )  # fmt: skip
    columns = _columns(report, with_errors=is_wide)
    for i, (name, _) in enumerate(columns):
        title = name if is_wide else name.replace(" ", "\n")
        table.add_column(title, justify="right" if i else "left", no_wrap=True)
    for row in (*report.rows, report.base):
        table.add_row(*(cell(row) for _, cell in columns))
    Console(width=width).print(table)
    for sentence in advice(report):
        print(sentence)
    print(_about(report, setting))


def as_markdown(report: QualityReport, setting: Setting, *, picture: str | None) -> str:
    """A page. Args: picture: the name of a file to show."""
    columns = _columns(report)
    lines = [
        f"# What quantising costs {setting.model}",
        "",
        "| " + " | ".join(name for name, _ in columns) + " |",
        "|---" + "|---:" * (len(columns) - 1) + "|",
        *(
            "| " + " | ".join(cell(row) for _, cell in columns) + " |"
            for row in (*report.rows, report.base)
        ),
        "",
        *(f"- {sentence}" for sentence in advice(report)),
        "",
        _about(report, setting),
    ]
    if picture is not None:
        words = "Perplexity ratio and KL divergence of each level over the size of its file"
        lines += ["", f"![{words}]({picture})"]
    return "\n".join(lines) + "\n"


def as_data(report: QualityReport, setting: Setting) -> dict[str, Any]:
    """For JSON. Shares are from 0 to 1, divergences in nats, speeds in tokens per second."""
    found = recommend(report)
    return {
        "version": __version__,
        "date": setting.date,
        "model": setting.model,
        "text": setting.text,
        "imatrix": setting.imatrix or None,
        "n_ctx": report.windows.n_ctx,
        "n_windows": len(report.windows),
        "n_tokens": report.windows.n_tokens,
        "processor": setting.processor,
        "instruction_set": setting.instruction_set,
        "threads": report.n_threads,
        "base": _row_data(report.base),
        "levels": [_row_data(row) | {"loss": loss(row)} for row in report.rows],
        "recommended": {
            "best": None if found.best is None else found.best.level,
            "nearest": None if found.nearest is None else found.nearest.level,
            "damaged": [row.level for row in found.damaged],
            "short_text": found.is_short,
            "foreign_text": found.is_foreign,
        },
    }


def advice(report: QualityReport) -> list[str]:
    """What to take and what to beware of, a sentence each."""
    found, base = recommend(report), report.base
    lines = []
    if found.best is None:
        lines.append(
            f"No level here loses {SMALL:.0%} or less: keep {base.level}, or measure levels of "
            "more bits."
        )
    else:
        lines.append(
            f"For most uses {found.best.level}: the smallest that loses {SMALL:.0%} or less"
            f"{_gain(found.best, base)}."
        )
    if found.nearest is not None:
        lines.append(
            f"Hardly to be told from {base.level}: {found.nearest.level}, the smallest that loses "
            f"{INVISIBLE:.1%} or less{_gain(found.nearest, base)}."
        )
    if found.damaged:
        names = ", ".join(row.level for row in found.damaged)
        lines.append(f"Only where nothing else fits: {names}, above {LARGE:.0%}.")
    if found.is_foreign:
        lines.append(
            "Beware: damaged files predict this text better than the model itself, so it is unlike "
            "what the model knows; KL divergence decided, and another text would be better."
        )
    if found.is_short:
        lines.append(
            f"Beware: only {report.windows.n_tokens} tokens were scored; take a longer text before "
            "relying on this."
        )
    return lines


def _gain(row: QualityRow, base: QualityRow) -> str:
    return f" ({loss(row):.2%}; {base.n_bytes / row.n_bytes:.1f} times smaller than {base.level})"


def _columns(
    report: QualityReport, *, with_errors: bool = True
) -> list[tuple[str, Callable[[QualityRow], str]]]:
    """Names, and what makes the cell of a row."""
    unit, n_bytes = file_unit(report)

    def pair(value: Estimate, digits: int) -> str:
        if value.error == 0:  # exact, as the figures of the base beside itself
            return f"{value.value:g}"
        error = f" ± {value.error:.{digits}f}" if with_errors else ""
        return f"{value.value:.{digits}f}{error}"

    columns: list[tuple[str, Callable[[QualityRow], str]]] = [
        ("level", lambda row: row.level),
        (unit, lambda row: f"{row.n_bytes / n_bytes:.2f}"),
        ("bits", lambda row: f"{row.bits_per_weight:.2f}"),
        ("perplexity", lambda row: pair(row.perplexity, 3)),
        ("ratio", lambda row: pair(row.ratio, 4)),
        ("mean KL", lambda row: pair(row.kl, 6)),
        ("KL 99%", lambda row: f"{row.kl_99:.5f}" if row.kl_99 else "0"),
        ("same top", lambda row: f"{row.same_top.value:.1%}"),
    ]
    if report.base.prompt is not None:
        columns += [
            ("prompt t/s", lambda row: _speed(row.prompt)),
            ("generate t/s", lambda row: _speed(row.generate)),
        ]
    return columns


def _speed(value: Estimate | None) -> str:
    return "" if value is None else f"{value.value:.{0 if value.value >= 100 else 1}f}"


def _about(report: QualityReport, setting: Setting) -> str:
    windows = report.windows
    words = (
        f"{setting.text}: {windows.n_tokens} tokens scored, {len(windows)} windows of "
        f"{windows.n_ctx}."
    )
    if setting.imatrix:
        words += f" Quantised with importance matrix {setting.imatrix}."
    if report.base.prompt is not None:
        words += (
            f" Speeds: {min(PROMPT_TOKENS, windows.n_ctx)} tokens read, "
            f"{min(GENERATED_TOKENS, windows.n_ctx)} generated, {report.n_threads} threads, "
            f"{setting.processor}, {setting.instruction_set}."
        )
    return words


def _row_data(row: QualityRow) -> dict[str, Any]:
    return {
        "level": row.level,
        "n_bytes": row.n_bytes,
        "bits_per_weight": row.bits_per_weight,
        "perplexity": _estimate(row.perplexity),
        "ratio": _estimate(row.ratio),
        "kl_divergence": {**_estimate(row.kl), "percentiles": {"99": row.kl_99}},
        "same_top": _estimate(row.same_top),
        "prompt": None if row.prompt is None else _estimate(row.prompt),
        "generate": None if row.generate is None else _estimate(row.generate),
    }


def _estimate(value: Estimate) -> dict[str, float]:
    return {"value": value.value, "standard_error": value.error}
