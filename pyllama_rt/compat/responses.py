"""The dictionaries that OpenAI's clients know."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypedDict

FinishReason = Literal["stop", "length"]


class Usage(TypedDict):
    """Tokens read and made."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Logprobs(TypedDict):
    """Log-probabilities of the tokens of a completion."""

    tokens: list[str]
    text_offset: list[int]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]


class CompletionChoice(TypedDict):
    """The text of a completion or of one chunk of it."""

    text: str
    index: int
    logprobs: Logprobs | None
    finish_reason: str | None


class CompletionChunk(TypedDict):
    """A part of a streamed completion."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]


class Completion(CompletionChunk):
    """A whole completion."""

    usage: Usage


class TopLogprob(TypedDict):
    """A token that could have come."""

    token: str
    logprob: float | None
    bytes: list[int] | None


class ChatLogprob(TopLogprob):
    """A token of an answer."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(TypedDict):
    """Log-probabilities of the tokens of an answer."""

    content: list[ChatLogprob]
    refusal: None


class ChatMessage(TypedDict):
    """An answer."""

    role: Literal["assistant"]
    content: str


class ChatChoice(TypedDict):
    """An answer and why it ended."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: str | None


class ChatCompletion(TypedDict):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class ChatDelta(TypedDict, total=False):
    """What a chunk adds to an answer."""

    role: Literal["assistant"]
    content: str


class ChatChunkChoice(TypedDict):
    """One chunk of an answer."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    finish_reason: str | None


class ChatCompletionChunk(TypedDict):
    """A part of a streamed answer."""

    id: str
    model: str
    created: int
    object: Literal["chat.completion.chunk"]
    choices: list[ChatChunkChoice]


@dataclass(frozen=True)
class Envelope:
    """What all responses to one request share, and the responses around a text."""

    model: str
    id: str = field(default_factory=lambda: f"cmpl-{uuid.uuid4()}")
    created: int = field(default_factory=lambda: int(time.time()))

    def completion(
        self, text: str, logprobs: Logprobs | None, finish_reason: str | None, usage: Usage
    ) -> Completion:
        """A whole completion."""
        chunk = self.chunk(text, logprobs, finish_reason)
        return {**chunk, "usage": usage}

    def chunk(
        self, text: str, logprobs: Logprobs | None = None, finish_reason: str | None = None
    ) -> CompletionChunk:
        """A part of a completion."""
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": [
                {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": finish_reason}
            ],
        }

    def chat(
        self, text: str, logprobs: ChatLogprobs | None, finish_reason: str | None, usage: Usage
    ) -> ChatCompletion:
        """A whole answer."""
        return {
            "id": f"chat{self.id}",
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "logprobs": logprobs,
                    "finish_reason": finish_reason,
                }
            ],
            "usage": usage,
        }

    def chat_chunk(
        self,
        delta: ChatDelta,
        logprobs: ChatLogprobs | None = None,
        finish_reason: str | None = None,
    ) -> ChatCompletionChunk:
        """A part of an answer."""
        return {
            "id": f"chat{self.id}",
            "model": self.model,
            "created": self.created,
            "object": "chat.completion.chunk",
            "choices": [
                {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
            ],
        }


@dataclass(frozen=True)
class Part:
    """A piece of generated text, described."""

    text: str
    logprobs: Logprobs | None
    chat_logprobs: ChatLogprobs | None
    n_tokens: int
    finish_reason: str | None


def usage_of(n_prompt: int, n_made: int) -> Usage:
    """Both counts and their sum."""
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_made,
        "total_tokens": n_prompt + n_made,
    }


def completion_chunks(envelope: Envelope, parts: Iterable[Part]) -> Iterator[CompletionChunk]:
    """Chunks with text, then an empty one with the reason why it ended."""
    for part in parts:
        if part.text or part.n_tokens:
            yield envelope.chunk(part.text, part.logprobs)
        if part.finish_reason is not None:
            yield envelope.chunk("", None, part.finish_reason)


def chat_chunks(envelope: Envelope, parts: Iterable[Part]) -> Iterator[ChatCompletionChunk]:
    """A chunk with the role, chunks with text, then an empty one with the reason."""
    yield envelope.chat_chunk({"role": "assistant"})
    for part in parts:
        if part.text or part.n_tokens:
            yield envelope.chat_chunk({"content": part.text}, part.chat_logprobs)
        if part.finish_reason is not None:
            yield envelope.chat_chunk({}, None, part.finish_reason)
