"""The part that the generators of text files share: write the file, or compare it."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def write_or_check(relative: str, text: str) -> int:
    """Writes `text` to a file of the checkout; with --check on the command line, compares it.

    Returns:  exit status: 1 if the file differs or is missing, after printing the difference.
    """
    path = ROOT / relative
    if "--check" not in sys.argv[1:]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return 0
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    if old == text:
        return 0
    difference = difflib.unified_diff(
        old.splitlines(), text.splitlines(), relative, "generated", lineterm="", n=1
    )
    print(*list(difference)[:40], sep="\n")
    return 1
