"""Writes docs/cli.md, the help of every subcommand, from the installed package.

usage: generate_cli_docs.py [--check]
"""

from __future__ import annotations

import contextlib
import io
import os
import sys

from generated_file import write_or_check

from pyllama_rt.cli.app import SUBCOMMANDS, run_command

TARGET = "docs/cli.md"
HEADER = """\
# The command line

<!-- Generated from the commands by tools/generate_cli_docs.py; do not edit. -->

Text goes to standard output, everything else to standard error. The exit status is 0; 2 after
wrong input, with one line that says what is wrong; 130 after Ctrl-C; 141 if the reader of standard
output went away.
"""


def help_of(arguments: list[str]) -> str:
    """What `--help` prints at 80 columns."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        run_command([*arguments, "--help"])
    return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())


def page() -> str:
    """The whole file."""
    os.environ["COLUMNS"] = "80"
    sections = [HEADER, f"```text\n{help_of([])}\n```\n"]
    for name in SUBCOMMANDS:
        sections.append(f"## {name}\n\n```text\n{help_of([name])}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    sys.exit(write_or_check(TARGET, page()))
