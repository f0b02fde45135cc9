"""Reports of `measure_quality` that nobody measured."""

from __future__ import annotations

from pyllama_rt.evaluate.estimate import Estimate
from pyllama_rt.evaluate.quality import QualityReport, QualityRow
from pyllama_rt.evaluate.windows import Windows

MIB = 1 << 20
SAME, NOTHING = Estimate(1, 0), Estimate(0, 0)


def row(
    level: str,
    n_mib: float,
    *,
    ratio: Estimate = SAME,
    kl: Estimate = NOTHING,
    speed: Estimate | None = None,
) -> QualityRow:
    return QualityRow(
        level=level,
        n_bytes=int(n_mib * MIB),
        bits_per_weight=n_mib / 2,
        perplexity=Estimate(8 * ratio.value, 0.05),
        ratio=ratio,
        kl=kl,
        kl_99=20 * kl.value,
        same_top=Estimate(0.9, 0.01),
        prompt=speed,
        generate=speed,
    )


def report(*rows: QualityRow, n_windows: int = 100) -> QualityReport:
    """Rows beside a base of 32 MiB, each window with 255 scored tokens."""
    windows = Windows([], 512, 512, 255, n_windows, None)
    return QualityReport(row("f16", 32, speed=rows[0].prompt), rows, windows, n_threads=2)
