"""Writes docs/cli.md: what `pyllama-rt` and each of its commands print with --help.

usage: generate_cli_docs.py [--check]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from generated_file import write_or_check

TARGET = "docs/cli.md"
HEADER = """<!-- Generated from --help by tools/generate_cli_docs.py; do not edit. -->

# The command line
"""
PLAIN = {"TYPER_USE_RICH": "0", "COLUMNS": "100", "NO_COLOR": "1", "PYTHONUTF8": "1"}
"""Environment in which help is plain text of one width and encoding."""


def help_of(*command: str) -> str:
    """What the installed program prints for `command --help`.

    It runs in an empty folder, so that nothing there is taken for the package.
    """
    program = str(Path(sysconfig.get_path("scripts")) / "pyllama-rt")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [program, *command, "--help"],
            cwd=folder,
            env={**os.environ, **PLAIN},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    if done.returncode != 0:
        sys.exit(f"{TARGET}: pyllama-rt {' '.join(command)} --help failed:\n{done.stderr}")
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def commands_in(text: str) -> list[str]:
    """Names of the subcommands that a help text lists."""
    _, _, listed = text.partition("\nCommands:\n")
    names = re.findall(r"^  ([a-z][\w-]*)", listed, re.MULTILINE)
    if not names:
        sys.exit(f"{TARGET}: pyllama-rt --help lists no commands:\n{text}")
    return names


def generate() -> str:
    """The text of the page."""
    top = help_of()
    pages = {"": top, **{name: help_of(name) for name in commands_in(top)}}
    sections = [
        f"\n## {f'pyllama-rt {name}'.strip()}\n\n```text\n{text}\n```\n"
        for name, text in pages.items()
    ]
    return HEADER + "".join(sections)


if __name__ == "__main__":
    sys.exit(write_or_check(TARGET, generate()))
