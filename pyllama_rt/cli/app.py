"""The list of subcommands, and what becomes of their errors."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from pyllama_rt import __version__
from pyllama_rt.cli import INTERRUPTED
from pyllama_rt.cli.streams import (
    abandon_stdout,
    flush_stdout,
    prepare_streams,
    print_error,
    print_note,
)
from pyllama_rt.errors import PyllamaRtError, did_you_mean

USAGE = 2
BROKEN_PIPE = 141
"""As shells have it for a program whose reader went away."""

SUBCOMMANDS = {
    "run": "Continue a prompt or answer a question.",
    "chat": "Talk with a model.",
    "convert": "Write a checkpoint as a GGUF file.",
    "quantize": "Write a GGUF file again with its weights in fewer bits.",
    "imatrix": "Measure which weights matter for a text.",
    "merge-tokenizer": "Extend a SentencePiece vocabulary by the pieces of another.",
    "merge-lora": "Write a model with LoRA adapters added to its weights.",
    "convert-lora": "Write a LoRA adapter as a GGUF file.",
    "inspect": "Show what a GGUF file holds.",
    "edit": "Change the metadata of a GGUF file.",
    "split": "Split a GGUF file into several.",
    "merge": "Join the parts of a split GGUF model into one file.",
    "tokenize": "Show the tokens of a text.",
    "perplexity": "Measure how well a model predicts a text.",
    "quality": "Measure what each level of quantising costs a model.",
    "bench": "Measure how fast a model runs.",
    "doctor": "Check this installation and this machine.",
}
"""Name of each subcommand, its file and its function (- is _), and what `--help` says of it."""

# In typer's older versions the class is click's, in newer ones its own copy of it.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]


class _LazyGroup(TyperGroup):
    """Imports the file of a subcommand when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(SUBCOMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in SUBCOMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        function = getattr(import_module(f"pyllama_rt.cli.{name}"), name)
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name, no_args_is_help=False)(function)
        return get_command(app)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in SUBCOMMANDS:
            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], SUBCOMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """The list in `--help`, for which no file need be imported."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"pyllama-rt {__version__}")
        raise typer.Exit


_root = typer.Typer(
    cls=_LazyGroup,
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
)


@_root.callback()
def _pyllama_rt(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Run, convert and quantise LLaMA-family models on any CPU.

    Examples:

      pyllama-rt run "Tell me a story about a fox and a kite."

      pyllama-rt convert ./my-llama -o my-llama.gguf

      pyllama-rt quantize my-llama.gguf small.gguf q4_k_m

      pyllama-rt chat small.gguf

    `pyllama-rt COMMAND --help` has examples for each command.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def run_command(arguments: Sequence[str]) -> int:
    """Runs one subcommand and reports its errors, one line each on stderr.

    Returns: the exit status: 0; 2 for wrong input; 130 after Ctrl-C; 141 if the reader of stdout
        went away. SIGTERM and SIGHUP leave by SystemExit, so that half-written files are removed.
    """
    prepare_streams()
    _exit_on_signals()
    try:
        status = _invoke(arguments)
        flush_stdout()
    except BrokenPipeError:
        abandon_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print_note("interrupted")
        return INTERRUPTED
    except _UsageError as error:
        print_error(f"{error.format_message()} (see {_command_path(error)} --help)")
    except PyllamaRtError as error:
        print_error(str(error))
    except MemoryError:
        print_error("not enough memory; close other programs or ask for a smaller context")
    except OSError as error:
        abandon_stdout()
        print_error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except UnicodeError as error:
        print_error(str(error))
    else:
        return status
    return USAGE


def _exit_on_signals() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        # What is ignored stays so: nohup asks for it.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _leave)


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _invoke(arguments: Sequence[str]) -> int:
    # Not through the command's own main(), which has other ideas about errors and Ctrl-C.
    command = get_command(_root)
    try:
        with command.make_context("pyllama-rt", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return 0


def _command_path(error: Any) -> str:
    return str(error.ctx.command_path) if error.ctx is not None else "pyllama-rt"
