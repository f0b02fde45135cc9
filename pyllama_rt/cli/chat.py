"""`pyllama-rt chat`: a conversation."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from pyllama_rt.chat.templates import ChatTemplate
from pyllama_rt.cli.answer import Answer, Writer
from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.cli.grouped import grouped
from pyllama_rt.cli.options import LoadOptions, SamplingOptions, TextOptions
from pyllama_rt.cli.streams import is_piped, print_error, print_note
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.prompts import chat_template
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import ContextError

_HELP = "/reset starts a new conversation, /exit or Ctrl-D ends, Ctrl-C stops an answer"


@grouped
def chat(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="MODEL", help="A GGUF file. Default: the demo model."),
    ] = None,
    *,
    text: TextOptions,
    sampling: SamplingOptions,
    loading: LoadOptions,
) -> None:
    """Talk with a model.

    Each line is a message. /reset starts a new conversation, /help lists the
    commands, /exit or Ctrl-D ends. Ctrl-C stops an answer and keeps the
    conversation. Lines may also come from a pipe.

    Examples:

      pyllama-rt chat

      pyllama-rt chat my-llama.gguf --system "You are a poet." --temp 1.0

      pyllama-rt chat my-llama.gguf --chat-format alpaca --ctx 2048
    """
    sampler, config = sampling.config(), loading.config()
    with load_model(model or DEMO_MODEL, config) as loaded, Session(loaded) as session:
        template = chat_template(loaded.metadata, text.chat_format)
        stops = (*(text.stop or ()), *template.default_stops)
        writer = Writer(session, sampler, text.max_tokens, stops, trims=True)
        with contextlib.closing(template):
            conversation = _Conversation(text.system)
            while (line := _read_line()) is not None:
                if line.startswith("/"):
                    if line == "/exit":
                        break
                    _command(line, conversation)
                elif line:
                    _reply(line, conversation, template, writer)


class _Conversation:
    """The messages so far."""

    def __init__(self, system: str | None) -> None:
        self._head = [] if system is None else [{"role": "system", "content": system}]
        self.messages = list(self._head)

    def reset(self) -> None:
        """Forgets all but the system prompt."""
        self.messages = list(self._head)


def _reply(line: str, conversation: _Conversation, template: ChatTemplate, writer: Writer) -> None:
    """Answers one message; one that does not fit is taken back."""
    messages = [*conversation.messages, {"role": "user", "content": line}]
    tokenizer = writer.session.model.tokenizer
    try:
        answer = writer.write(template.render_for(tokenizer, messages).encode(tokenizer))
    except ContextError as error:
        print_error(f"the conversation is too long: {error}; or start a new one with /reset")
        return
    conversation.messages = [*messages, {"role": "assistant", "content": answer.text}]
    _comment(answer, writer)


def _comment(answer: Answer, writer: Writer) -> None:
    if answer.interrupted:
        print_note("(stopped)")
    elif answer.finish_reason == "length" and answer.n_written != writer.max_tokens:
        n_ctx = writer.session.model.n_ctx
        print_note(f"(cut off: the context of {n_ctx} tokens is full; /reset starts a new one)")
    if not is_piped():
        print_note(f"({answer.timings()})")


def _command(line: str, conversation: _Conversation) -> None:
    if line == "/reset":
        conversation.reset()
    print_note({"/reset": "(new conversation)", "/help": _HELP}.get(line, f"{line}? {_HELP}"))


def _read_line() -> str | None:
    """The next message; None at the end. Ctrl-C throws away what has been typed."""
    while True:
        try:
            if is_piped():
                line = sys.stdin.readline()
                return line.strip() if line else None
            # Imported for its effect: line editing and history in input().
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401
            return input("> ").strip()
        except EOFError:
            print()
            return None
        except KeyboardInterrupt:
            if is_piped():
                raise
            print(f"\n({_HELP})", file=sys.stderr)
