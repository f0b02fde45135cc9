"""Measures the demo model for the README: its table, and docs/quality-demo with the picture.

usage: quality_demo.py DEMO-F16.gguf TEXT

Needs the installed package with its extra `plots`, and nothing else running: speeds are measured.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from pyllama_rt.cli.app import run_command

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "docs/quality-demo"
FILES = ("quality.md", "quality.json", "quality.svg")
BEGIN = "<!-- Written by tools/quality_demo.py from here -->"
END = "<!-- to here -->"


def readme_part(page: str) -> str:
    """What `quality.md` holds below its title, with the picture's place as seen from the README."""
    body = page.partition("\n\n")[2]
    return body.replace("](quality.svg)", f"]({FOLDER}/quality.svg)").strip()


def with_part(readme: str, part: str) -> str:
    """The README with another text between the marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"README.md: expected the lines {BEGIN!r} and {END!r}")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"


def main() -> int:
    """Measures, then replaces the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="the demo model in F16, a GGUF file")
    parser.add_argument("text", help="its validation text")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        status = run_command(["quality", given.model, "-f", given.text, "--out", str(out)])
        if status:
            return status
        (ROOT / FOLDER).mkdir(exist_ok=True)
        for name in FILES:
            shutil.copyfile(out / name, ROOT / FOLDER / name)
        page = (out / "quality.md").read_text(encoding="utf-8")
    readme = ROOT / "README.md"
    changed = with_part(readme.read_text(encoding="utf-8"), readme_part(page))
    readme.write_text(changed, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
