"""Writes pyllama_rt/graph/ops.py from csrc/graph/ops.def.

usage: generate_ops.py [--check]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "csrc/graph/ops.def"
TARGET = ROOT / "pyllama_rt/graph/ops.py"
ROW = re.compile(r'^PLRT_OP\((\w+), (\d+), (\d+), \w+, "([^"]*)"\)$', re.MULTILINE)

HEADER = '''"""The ops of a graph; generated from csrc/graph/ops.def by tools/generate_ops.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class OpSpec(NamedTuple):
    """Numbers of value and weight inputs of one op, and its attributes.

    attributes: default by name, None where there is none.
    """

    n_values: int
    n_weights: int
    attributes: Mapping[str, int | None]


OPS: dict[str, OpSpec] = {
'''


def generate() -> str:
    """The text of the generated module."""
    lines = []
    for name, values, weights, attributes in ROW.findall(SOURCE.read_text(encoding="utf-8")):
        words = [word.partition("=") for word in attributes.split()]
        inner = ", ".join(f'"{word}": {default or None}' for word, _, default in words)
        line = f'    "{name}": OpSpec({values}, {weights}, {{{inner}}}),\n'
        lines.append(line if len(line) <= 101 else _wrapped(name, values, weights, words))
    return HEADER + "".join(lines) + "}\n"


def _wrapped(name: str, values: str, weights: str, words: list[tuple[str, str, str]]) -> str:
    """A row that is too long for one line."""
    rows = "".join(f'            "{word}": {default or None},\n' for word, _, default in words)
    head = f'    "{name}": OpSpec(\n        {values},\n        {weights},\n'
    return f"{head}        {{\n{rows}        }},\n    ),\n"


def main() -> int:
    """Writes the module, or with --check compares it."""
    text = generate()
    if "--check" in sys.argv[1:]:
        if TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET.relative_to(ROOT)} is stale: run tools/generate_ops.py")
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
