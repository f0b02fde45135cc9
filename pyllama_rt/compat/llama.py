"""`Llama`: the engine under the names that users of llama-cpp-python know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pyllama_rt.chat.templates import ChatTemplate, Message
from pyllama_rt.compat import arguments as args
from pyllama_rt.compat.describe import Describer, joined_chat_logprobs, joined_logprobs
from pyllama_rt.compat.responses import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    CompletionChunk,
    Envelope,
    Part,
    Usage,
    chat_chunks,
    completion_chunks,
    usage_of,
)
from pyllama_rt.compat.tokens import Criteria, Processors, TokenLevel
from pyllama_rt.config import SamplingConfig, check_int
from pyllama_rt.engine.generate import LogitsProcessor, StoppingCriterion, generate_text
from pyllama_rt.engine.prompts import chat_template, encode_prompt
from pyllama_rt.errors import ConfigError

Bias = Mapping[int, float] | Mapping[str, float] | None


@dataclass(frozen=True)
class _Request:
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


class Llama(TokenLevel):
    """A model with one sequence of tokens, under the names of llama-cpp-python.

    Calls from several threads take turns; a stream takes one turn per chunk and stays correct
    whatever happens in between. Use as a context manager, or call `close`.

    model_path: as given. metadata: the model file's keys as text, arrays left out.
    """

    _template: ChatTemplate | None = None

    def create_completion(
        self,
        prompt: str | Sequence[int],
        suffix: None = None,
        max_tokens: int | None = 16,
        temperature: float = 0.8,
        top_p: float = 0.95,
        *,
        min_p: float = 0.05,
        logprobs: int | None = None,
        echo: bool = False,
        stop: str | Sequence[str] | None = None,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        top_k: int = 40,
        stream: bool = False,
        seed: int | None = None,
        model: str | None = None,
        stopping_criteria: Criteria = None,
        logits_processor: Processors = None,
        logit_bias: Bias = None,
        **theirs: object,
    ) -> Completion | Iterator[CompletionChunk]:
        """Continues a prompt.

        Args:
            prompt: Text, in which special pieces count, or token ids. suffix: Only None.
            max_tokens: None, 0 or -1 for all that the context holds.
            logprobs: How many of the likeliest tokens to name for each token.
            echo: Whether the text begins with the prompt.
            stop: Text, or texts, before which to end.
            stream: Whether to return an iterator over chunks.
            model: The name that the response gives the model.
            stopping_criteria, logits_processor: Callables that take ids and logits.
            logit_bias: Numbers to add to logits, by token id. theirs: As of `Llama`.
        Raises:
            ContextError if the prompt is longer than the context.
        """
        theirs["suffix"] = suffix
        args.check_neutral("create_completion", args.COMPLETION_NEUTRAL, theirs)
        ids, text = self._ids_and_text(prompt)
        penalties = (repeat_penalty, frequency_penalty, presence_penalty)
        request = _Request(
            ids=ids,
            sampling=self._sampling(seed, temperature, (top_k, top_p, min_p), penalties),
            max_tokens=args.limit_of(max_tokens),
            stop=args.stop_list(stop),
            processors=args.as_processors(logits_processor, logit_bias, self.n_vocab()),
            criteria=args.as_criteria(stopping_criteria),
            n_top=self._n_top("logprobs", logprobs),
            offset=0 if echo else len(text),
            echo=text if echo else None,
        )
        envelope = Envelope(self.model_path if model is None else model)
        parts = self._parts(request)
        if stream:
            return completion_chunks(envelope, parts)
        found, whole, usage = self._collected(request, parts)
        return envelope.completion(whole, joined_logprobs(found), found[-1].finish_reason, usage)

    __call__ = create_completion

    def create_chat_completion(
        self,
        messages: Sequence[Message],
        *,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        stream: bool = False,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        model: str | None = None,
        logits_processor: Processors = None,
        logit_bias: Bias = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        **theirs: object,
    ) -> ChatCompletion | Iterator[ChatCompletionChunk]:
        """Answers the last of `messages`, in the chat template of the model file.

        Args:
            messages: `{"role": "user", "content": "…"}` and so on. Special pieces in them are
                plain text.
            logprobs: Whether to give log-probabilities; `top_logprobs` of the likeliest tokens
                for each. Others: as `create_completion`.
        Raises:
            ConfigError if there is no template or it refuses the messages; ContextError if they
            are longer than the context.
        """
        args.check_neutral("create_chat_completion", args.CHAT_NEUTRAL, theirs)
        with self._lock:
            template = self._chat_template()
            ids = template.render_for(self.tokenizer, messages).encode(self.tokenizer)
        n_top = self._n_top("top_logprobs", top_logprobs)
        penalties = (repeat_penalty, frequency_penalty, presence_penalty)
        request = _Request(
            ids=ids,
            sampling=self._sampling(seed, temperature, (top_k, top_p, min_p), penalties),
            max_tokens=args.limit_of(max_tokens),
            stop=[*args.stop_list(stop), *template.default_stops],
            processors=args.as_processors(logits_processor, logit_bias, self.n_vocab()),
            n_top=(n_top or 0) if logprobs else None,
        )
        envelope = Envelope(self.model_path if model is None else model)
        parts = self._parts(request)
        if stream:
            return chat_chunks(envelope, parts)
        found, text, usage = self._collected(request, parts)
        return envelope.chat(text, joined_chat_logprobs(found), found[-1].finish_reason, usage)

    def close(self) -> None:
        """Frees the model. Calling it twice is harmless; other methods then raise StateError."""
        with self._lock:
            template, self._template = self._template, None
            if template is not None:
                template.close()
            super().close()

    def _chat_template(self) -> ChatTemplate:
        if self._template is None:
            self._template = chat_template(self._running.model.metadata, self.chat_format)
        return self._template

    def _ids_and_text(self, prompt: str | Sequence[int]) -> tuple[list[int], str]:
        if isinstance(prompt, str):
            return encode_prompt(self.tokenizer, prompt), prompt
        ids = self._checked(prompt)
        return ids, self.detokenize(ids).decode("utf-8", "replace")

    def _n_top(self, name: str, count: int | None) -> int | None:
        if count is not None:
            check_int(name, count, 0, self.n_vocab())
        return count

    def _parts(self, request: _Request) -> Iterator[Part]:
        """The described pieces of a text. What is wrong with the request shows now, not later."""
        session = self._running
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
        self, request: _Request, describer: Describer, parts: Iterator[Part]
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

    def _echo(self, request: _Request, describer: Describer, text: str) -> Part:
        logits = None
        if request.n_top is not None:
            session = self._running
            session.truncate(0)
            logits = session.eval(request.ids, all_logits=True)
        return describer.echo(text, request.ids, logits)

    def _collected(self, request: _Request, parts: Iterator[Part]) -> tuple[list[Part], str, Usage]:
        """All pieces in one turn, their text, and the counts."""
        with self._lock:
            found = list(parts)
        n_made = sum(part.n_tokens for part in found)
        text = "".join(part.text for part in found)
        return found, text, usage_of(len(request.ids), n_made)
