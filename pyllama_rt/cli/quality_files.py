"""The files that `pyllama-rt quality --out` writes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pyllama_rt.cli.quality_picture import draw
from pyllama_rt.cli.quality_report import Setting, as_data, as_markdown
from pyllama_rt.evaluate.quality import QualityReport


def write_files(folder: Path, report: QualityReport, setting: Setting) -> bool:
    """Fills a folder; False if there is no picture in it, for want of matplotlib."""
    pictures = draw(report, setting)
    for name, picture in pictures.items():
        _write(folder / f"quality.{name}", picture)
    data = json.dumps(as_data(report, setting), ensure_ascii=False, indent=1, allow_nan=False)
    _write(folder / "quality.json", f"{data}\n".encode())
    page = as_markdown(report, setting, picture="quality.svg" if pictures else None)
    _write(folder / "quality.md", page.encode())
    return bool(pictures)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
