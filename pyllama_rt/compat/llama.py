"""`Llama`: the engine under the names that users of llama-cpp-python know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, overload

from pyllama_rt.chat.messages import Message, text_messages
from pyllama_rt.chat.templates import ChatTemplate
from pyllama_rt.compat import arguments as args
from pyllama_rt.compat.describe import joined_chat_logprobs, joined_logprobs
from pyllama_rt.compat.embeddings import EmbeddingLevel
from pyllama_rt.compat.responses import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    CompletionChunk,
    Envelope,
    chat_chunks,
    completion_chunks,
)
from pyllama_rt.compat.texts import Prompt, Request
from pyllama_rt.compat.tokens import Criteria, Processors
from pyllama_rt.engine.prompts import chat_template

Bias = Mapping[int, float] | Mapping[str, float] | None


class Llama(EmbeddingLevel):
    """A model with one sequence of tokens, under the names of llama-cpp-python.

    Calls from several threads take turns; a stream takes one turn per chunk and stays correct
    whatever happens in between. Use as a context manager, or call `close`.

    model_path: as given. metadata: the model file's keys as text, arrays left out.
    """

    _template: ChatTemplate | None = None

    @overload
    def create_completion(
        self,
        prompt: Prompt,
        suffix: None = ...,
        max_tokens: int | None = ...,
        temperature: float = ...,
        top_p: float = ...,
        *,
        min_p: float = ...,
        logprobs: int | None = ...,
        echo: bool = ...,
        stop: str | Sequence[str] | None = ...,
        frequency_penalty: float = ...,
        presence_penalty: float = ...,
        repeat_penalty: float = ...,
        top_k: int = ...,
        stream: Literal[False] = ...,
        seed: int | None = ...,
        model: str | None = ...,
        stopping_criteria: Criteria = ...,
        logits_processor: Processors = ...,
        logit_bias: Bias = ...,
        **theirs: object,
    ) -> Completion: ...

    @overload
    def create_completion(
        self,
        prompt: Prompt,
        suffix: None = ...,
        max_tokens: int | None = ...,
        temperature: float = ...,
        top_p: float = ...,
        *,
        min_p: float = ...,
        logprobs: int | None = ...,
        echo: bool = ...,
        stop: str | Sequence[str] | None = ...,
        frequency_penalty: float = ...,
        presence_penalty: float = ...,
        repeat_penalty: float = ...,
        top_k: int = ...,
        stream: Literal[True],
        seed: int | None = ...,
        model: str | None = ...,
        stopping_criteria: Criteria = ...,
        logits_processor: Processors = ...,
        logit_bias: Bias = ...,
        **theirs: object,
    ) -> Iterator[CompletionChunk]: ...

    @overload
    def create_completion(
        self,
        prompt: Prompt,
        suffix: None = ...,
        max_tokens: int | None = ...,
        temperature: float = ...,
        top_p: float = ...,
        *,
        min_p: float = ...,
        logprobs: int | None = ...,
        echo: bool = ...,
        stop: str | Sequence[str] | None = ...,
        frequency_penalty: float = ...,
        presence_penalty: float = ...,
        repeat_penalty: float = ...,
        top_k: int = ...,
        stream: bool,
        seed: int | None = ...,
        model: str | None = ...,
        stopping_criteria: Criteria = ...,
        logits_processor: Processors = ...,
        logit_bias: Bias = ...,
        **theirs: object,
    ) -> Completion | Iterator[CompletionChunk]: ...

    def create_completion(
        self,
        prompt: Prompt,
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
            prompt: Text or UTF-8 bytes, in which special pieces count, or token ids.
            max_tokens: None, 0 or -1 for all that the context holds.
            logprobs: How many of the likeliest tokens to name for each token.
            echo: Whether the text begins with the prompt.
            stop: Text, or texts, before which to end.
            stream: Whether to return an iterator over chunks.
            model: The name that the response gives the model.
            stopping_criteria, logits_processor: Callables that take ids and logits.
            logit_bias: Numbers to add to logits, by token id. suffix, theirs: As of `Llama`.
        Raises: ContextError if the prompt is longer than the context.
        """
        theirs["suffix"] = suffix
        args.check_neutral("create_completion", args.COMPLETION_NEUTRAL, theirs)
        args.check_flags(stream=stream, echo=echo)
        ids, text = self._ids_and_text(prompt)
        penalties = (repeat_penalty, frequency_penalty, presence_penalty)
        request = Request(
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

    @overload
    def create_chat_completion(
        self,
        messages: Sequence[Message],
        *,
        temperature: float = ...,
        top_p: float = ...,
        top_k: int = ...,
        min_p: float = ...,
        stream: Literal[False] = ...,
        stop: str | Sequence[str] | None = ...,
        seed: int | None = ...,
        max_tokens: int | None = ...,
        presence_penalty: float = ...,
        frequency_penalty: float = ...,
        repeat_penalty: float = ...,
        model: str | None = ...,
        logits_processor: Processors = ...,
        logit_bias: Bias = ...,
        logprobs: bool | None = ...,
        top_logprobs: int | None = ...,
        **theirs: object,
    ) -> ChatCompletion: ...

    @overload
    def create_chat_completion(
        self,
        messages: Sequence[Message],
        *,
        temperature: float = ...,
        top_p: float = ...,
        top_k: int = ...,
        min_p: float = ...,
        stream: Literal[True],
        stop: str | Sequence[str] | None = ...,
        seed: int | None = ...,
        max_tokens: int | None = ...,
        presence_penalty: float = ...,
        frequency_penalty: float = ...,
        repeat_penalty: float = ...,
        model: str | None = ...,
        logits_processor: Processors = ...,
        logit_bias: Bias = ...,
        logprobs: bool | None = ...,
        top_logprobs: int | None = ...,
        **theirs: object,
    ) -> Iterator[ChatCompletionChunk]: ...

    @overload
    def create_chat_completion(
        self,
        messages: Sequence[Message],
        *,
        temperature: float = ...,
        top_p: float = ...,
        top_k: int = ...,
        min_p: float = ...,
        stream: bool,
        stop: str | Sequence[str] | None = ...,
        seed: int | None = ...,
        max_tokens: int | None = ...,
        presence_penalty: float = ...,
        frequency_penalty: float = ...,
        repeat_penalty: float = ...,
        model: str | None = ...,
        logits_processor: Processors = ...,
        logit_bias: Bias = ...,
        logprobs: bool | None = ...,
        top_logprobs: int | None = ...,
        **theirs: object,
    ) -> ChatCompletion | Iterator[ChatCompletionChunk]: ...

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
            messages: `{"role": "user", "content": "…"}` and so on; a content may also be a list
                of `{"type": "text", "text": "…"}`. Special pieces in them are plain text.
            logprobs: Whether to give log-probabilities; `top_logprobs` of the likeliest tokens
                for each. Others: as `create_completion`.
        Raises:
            ConfigError if there is no template or it refuses the messages; ContextError if they
            are longer than the context.
        """
        args.check_neutral("create_chat_completion", args.CHAT_NEUTRAL, theirs)
        args.check_flags(stream=stream)
        conversation = text_messages(messages)
        with self._lock:
            template = self._chat_template()
            ids = template.render_for(self.tokenizer, conversation).encode(self.tokenizer)
        n_top = self._n_top("top_logprobs", top_logprobs)
        penalties = (repeat_penalty, frequency_penalty, presence_penalty)
        request = Request(
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
