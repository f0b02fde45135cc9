"""Options that several subcommands share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from pyllama_rt.cli.grouped import build
from pyllama_rt.config import LoadConfig, LoraConfig, RopeConfig, SamplingConfig, check_int


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded; the fields are those of LoadConfig."""

    n_ctx: Annotated[
        int | None,
        typer.Option(
            "--ctx",
            metavar="N",
            help="Tokens of context. Default: what the model was trained on, at most 4096.",
        ),
    ] = None
    n_threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", help="Threads. Default: all physical cores."),
    ] = None
    n_threads_batch: Annotated[
        int | None,
        typer.Option(
            "--threads-batch",
            metavar="N",
            help="Threads that read the prompt. Default: like --threads.",
        ),
    ] = None
    n_batch: Annotated[
        int, typer.Option("--batch", metavar="N", help="Tokens of the prompt read at a time.")
    ] = 512
    kv_type: Annotated[
        str,
        typer.Option("--kv-type", metavar="TYPE", help="Type of the cache: f16, f32 or q8_0."),
    ] = "f16"

    rope: Annotated[
        str | None,
        typer.Option(
            metavar="KIND[:FACTOR]",
            help="Reach beyond the trained context: linear:4, yarn:4, ntk:2 (alpha) or adaptive, "
            "which follows each text's length; none ignores what the file asks for.",
        ),
    ] = None
    rope_base: Annotated[
        float | None, typer.Option(metavar="X", help="Base of the rotary frequencies.")
    ] = None

    lora: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[:SCALE]",
            help="Run with this LoRA adapter (GGUF, see convert-lora); may be repeated.",
        ),
    ] = None

    def config(self) -> LoadConfig:
        """The same as a config. Raises: ConfigError for impossible values."""
        loras = tuple(LoraConfig.parse(text) for text in self.lora or ())
        rope = RopeConfig() if self.rope is None else RopeConfig.parse(self.rope)
        return build(LoadConfig, self, rope=replace(rope, base=self.rope_base), loras=loras)


@dataclass(frozen=True)
class SamplingOptions:
    """How tokens are chosen; the fields are those of SamplingConfig."""

    temperature: Annotated[
        float,
        typer.Option("--temp", metavar="T", help="0 always takes the likeliest token."),
    ] = 0.8
    top_k: Annotated[
        int, typer.Option(metavar="K", help="Choose among the K likeliest tokens; 0: among all.")
    ] = 40
    top_p: Annotated[
        float, typer.Option(metavar="P", help="Choose among the fewest that P of them all takes.")
    ] = 0.95
    min_p: Annotated[
        float,
        typer.Option(metavar="P", help="Choose among those of at least P times the likeliest."),
    ] = 0.05
    repeat_penalty: Annotated[
        float, typer.Option(metavar="R", help="Above 1: make tokens seen lately less likely.")
    ] = 1.0
    repeat_last_n: Annotated[
        int, typer.Option(metavar="N", help="How many tokens count as lately; for all penalties.")
    ] = 64
    frequency_penalty: Annotated[
        float, typer.Option(metavar="R", help="Lower a token each time that it was seen lately.")
    ] = 0.0
    presence_penalty: Annotated[
        float, typer.Option(metavar="R", help="Lower tokens seen lately at all.")
    ] = 0.0
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="The same seed gives the same text. Default: random."),
    ] = None

    def config(self) -> SamplingConfig:
        """The same as a config. Raises: ConfigError for impossible values."""
        return build(SamplingConfig, self)


@dataclass(frozen=True)
class TextOptions:
    """Where a text ends and how a conversation is written."""

    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            "-n",
            metavar="N",
            help="End after N tokens. Default: at the end of the context.",
        ),
    ] = None
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="End before this text; may be repeated."),
    ] = None
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="System prompt of the conversation.")
    ] = None
    chat_format: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="llama-2, alpaca or chatml. Default: the model file's own template.",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None:
            check_int("--max-tokens", self.max_tokens, 1, (1 << 31) - 1)
