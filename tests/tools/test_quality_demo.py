"""Where the measured table goes in the README."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "quality_demo.py"))
BEGIN, END, readme_part, with_part = (
    TOOL[name] for name in ("BEGIN", "END", "readme_part", "with_part")
)
PAGE = "# Title\n\n| a |\n|---|\n\n- Advice.\n\n![words](quality.svg)\n"


def test_the_part_between_the_marks_is_replaced() -> None:
    part = readme_part(PAGE)
    assert part.startswith("| a |")
    assert part.endswith("![words](docs/quality-demo/quality.svg)")
    once = with_part(f"before\n{BEGIN}\nold\n{END}\nafter\n", part)
    assert once == f"before\n{BEGIN}\n\n{part}\n\n{END}\nafter\n"
    assert with_part(once, part) == once


def test_marks_that_are_missing() -> None:
    with pytest.raises(SystemExit, match="expected the lines"):
        with_part(f"before {END} {BEGIN}", "part")
