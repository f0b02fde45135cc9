"""The command line: one file per subcommand, imported when it is called."""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def main() -> None:
    """Entry point of `pyllama-rt`."""
    try:
        # Not at the top: Ctrl-C must end quietly while this is being imported too.
        from pyllama_rt.cli.app import run_command

        status = run_command(sys.argv[1:])
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)
