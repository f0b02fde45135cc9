"""Fails where a generated file is not what its generator writes now.

usage: check_generated.py [--fix] [FILE ...]

A generator is a script in this folder that writes its file, or with --check compares and exits
non-zero. FILEs limit the run to these rows; --fix writes the files instead.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

GENERATED = {
    "pyllama_rt/graph/ops.py": "generate_ops.py",
    "pyllama_rt/_core.pyi": "generate_stub.py",
    "docs/cli.md": "generate_cli_docs.py",
}
"""Generated file -> the script that writes it."""


def is_current(script: str, fix: bool) -> bool:
    """Runs one generator; its own output says what is stale."""
    command = [sys.executable, str(ROOT / "tools" / script), *([] if fix else ["--check"])]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main() -> int:
    """Runs the generators; 1 if a file is stale or a generator fails."""
    parser = argparse.ArgumentParser(description="Generated files against their generators.")
    parser.add_argument("--fix", action="store_true", help="write the files")
    parser.add_argument("file", nargs="*", help="only these generated files")
    options = parser.parse_args()
    unknown = sorted(set(options.file) - set(GENERATED))
    if unknown:
        parser.error(f"not generated: {', '.join(unknown)} (choices: {', '.join(GENERATED)})")
    wanted = options.file or list(GENERATED)
    stale = [file for file in wanted if not is_current(GENERATED[file], options.fix)]
    for file in stale:
        print(f"{file}: not what tools/{GENERATED[file]} writes")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
