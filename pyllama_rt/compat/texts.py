"""Texts to generate: the steps that completions and answers share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyllama_rt.compat.describe import Describer
from pyllama_rt.compat.responses import Part, Usage, usage_of
from pyllama_rt.compat.tokens import TokenLevel
from pyllama_rt.config import SamplingConfig, check_int
from pyllama_rt.engine.generate import LogitsProcessor, StoppingCriterion, generate_text
from pyllama_rt.engine.prompts import encode_prompt
from pyllama_rt.errors import ConfigError

Prompt = str | bytes | bytearray | memoryview | Sequence[int]


@dataclass(frozen=True)
class Request:
    """One text to generate.

    n_top: likeliest tokens to name for each, None for no log-probabilities.
    offset: characters before the text. echo: what the text begins with.
    """

    ids: list[int]
    sampling: SamplingConfig
    max_tokens: int | None
    stop: Sequence[str]
    processors: Sequence[LogitsProcessor]
    criteria: Sequence[StoppingCriterion] = ()
    n_top: int | None = None
    offset: int = 0
    echo: str | None = None


class TextLevel(TokenLevel):
    """A model, one sequence of tokens, and requests for texts that take turns with it."""

    def _ids_and_text(self, prompt: Prompt) -> tuple[list[int], str]:
        """The ids of a prompt and its text for an echo; bytes are UTF-8, not ids."""
        if isinstance(prompt, str):
            return encode_prompt(self.tokenizer, prompt), prompt
        if isinstance(prompt, (bytes, bytearray, memoryview)):
            raw = bytes(prompt)
            ids = encode_prompt(self.tokenizer, raw.decode("utf-8", "surrogateescape"))
            return ids, raw.decode("utf-8", "replace")
        ids = self._checked(prompt)
        return ids, self.detokenize(ids).decode("utf-8", "replace")

    def _n_top(self, name: str, count: int | None) -> int | None:
        if count is not None:
            check_int(name, count, 0, self.n_vocab())
        return count

    def _parts(self, request: Request) -> Iterator[Part]:
        """The described pieces of a text. What is wrong with the request shows now, not later."""
        session = self._running
        session.model.check_writes()
        if not request.ids:
            raise ConfigError("prompt: expected at least one token, found none")
        session.check_room(len(request.ids) - len(session.tokens))
        chunks = generate_text(
            session,
            request.ids,
            request.sampling,
            max_tokens=request.max_tokens,
            stop=request.stop,
            processors=request.processors,
            criteria=request.criteria,
        )
        describer = Describer(self.tokenizer, request.n_top, request.offset)
        return self._in_turns(request, describer, describer.parts(chunks))

    def _in_turns(
        self, request: Request, describer: Describer, parts: Iterator[Part]
    ) -> Iterator[Part]:
        if request.echo is not None:
            with self._lock:
                first = self._echo(request, describer, request.echo)
            yield first
        while True:
            with self._lock:
                part = next(parts, None)
            if part is None:
                return
            yield part

    def _echo(self, request: Request, describer: Describer, text: str) -> Part:
        logits = None
        if request.n_top is not None:
            session = self._running
            session.truncate(0)
            logits = session.eval(request.ids, all_logits=True)
        return describer.echo(text, request.ids, logits)

    def _collected(self, request: Request, parts: Iterator[Part]) -> tuple[list[Part], str, Usage]:
        """All pieces in one turn, their text, and the counts."""
        with self._lock:
            found = list(parts)
        n_made = sum(part.n_tokens for part in found)
        text = "".join(part.text for part in found)
        return found, text, usage_of(len(request.ids), n_made)
