"""`pyllama-rt run`: one prompt, one text."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from pyllama_rt.cli.answer import Writer
from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.cli.grouped import grouped
from pyllama_rt.cli.options import LoadOptions, SamplingOptions, TextOptions
from pyllama_rt.cli.streams import is_piped, print_note, read_stdin
from pyllama_rt.engine.load import Model, load_model
from pyllama_rt.engine.prompts import chat_template, encode_prompt, has_template
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import ConfigError


@grouped
def run(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="A GGUF file. Default: the demo model.", show_default=False
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT", help="The text; - or none reads standard input.", show_default=False
        ),
    ] = None,
    *,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the prompt as it stands, without a template.")
    ] = False,
    text: TextOptions,
    sampling: SamplingOptions,
    loading: LoadOptions,
) -> None:
    """Continue a prompt or answer a question.

    The text goes to standard output as it is made, timings to standard
    error. Where the model file has a chat template, the prompt is a question
    in it, unless --raw. A single argument is the model if it ends in .gguf
    or is a file, and the prompt otherwise.

    Examples:

      pyllama-rt run "Tell me a story about a fox and a kite."

      pyllama-rt run my-llama.gguf "What is the capital of France?" --temp 0

      pyllama-rt run my-llama.gguf "Once upon a time" --raw -n 100 --seed 1

      pyllama-rt run my-llama.gguf --system "Answer in Chinese." < question.txt
    """
    if raw and (text.system is not None or text.chat_format is not None):
        raise ConfigError("--raw: expected neither --system nor --chat-format beside it")
    sampler, config = sampling.config(), loading.config()
    path, question = _arguments(model, prompt)
    started = perf_counter()
    with load_model(path, config) as loaded, Session(loaded) as session:
        load_s = perf_counter() - started
        ids, stops, is_chat = _encode(loaded, question, raw, text)
        writer = Writer(session, sampler, text.max_tokens, (*(text.stop or ()), *stops), is_chat)
        answer = writer.write(ids)
    print_note(f"load {load_s:.2f} s, {answer.timings()}")
    if answer.interrupted:
        raise KeyboardInterrupt


def _arguments(model: str | None, prompt: str | None) -> tuple[Path, str]:
    """Which of the two was given, and what stands for the other."""
    if model is not None and prompt is None and not _is_model(model):
        model, prompt = None, model
    if prompt is None and not is_piped():
        raise ConfigError("no prompt: give it as the last argument or on standard input")
    if prompt is None or prompt == "-":
        prompt = read_stdin()
    return Path(model) if model is not None else DEMO_MODEL, prompt


def _is_model(argument: str) -> bool:
    try:
        return argument.endswith(".gguf") or Path(argument).is_file()
    except (OSError, ValueError):  # a long prompt is no path at all
        return False


def _encode(
    model: Model, question: str, raw: bool, text: TextOptions
) -> tuple[list[int], tuple[str, ...], bool]:
    """The ids of the prompt, the template's own stops, and whether there is a template."""
    has_chat = has_template(model.metadata) or text.chat_format is not None
    if raw or not (has_chat or text.system is not None):
        return encode_prompt(model.tokenizer, question), (), False
    messages = [{"role": "user", "content": question}]
    if text.system is not None:
        messages.insert(0, {"role": "system", "content": text.system})
    template = chat_template(model.metadata, text.chat_format)
    try:
        ids = template.render_for(model.tokenizer, messages).encode(model.tokenizer)
    finally:
        template.close()
    return ids, template.default_stops, True
