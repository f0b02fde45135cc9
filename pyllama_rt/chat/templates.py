"""A model's chat template: messages in, prompt out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyllama_rt.chat.messages import Message, check_messages
from pyllama_rt.chat.spans import Change, Spans, keys_in, map_strings, trusted_spans
from pyllama_rt.chat.worker import TemplateWorker
from pyllama_rt.errors import ConfigError, FormatError, PyllamaRtError, shown
from pyllama_rt.tokenizer.protocol import Tokenizer
from pyllama_rt.tokenizer.special_pieces import SpecialPieces

MAX_SOURCE_CHARS = 1 << 20


@dataclass(frozen=True)
class Prompt:
    """A rendered conversation.

    Attributes:
        spans: Texts in order, with whether special pieces are recognised in them: in what the
            template wrote, not in what the messages hold.
        starts_with_bos: Whether the template has written BOS itself.
    """

    spans: Spans
    starts_with_bos: bool

    @property
    def text(self) -> str:
        """The whole prompt."""
        return "".join(text for text, _ in self.spans)

    def encode(self, tokenizer: Tokenizer) -> list[int]:
        """The ids, with exactly one BOS where the model wants one and never an EOS."""
        add_bos = tokenizer.add_bos and not self.starts_with_bos
        return tokenizer.encode_spans(self.spans, add_bos=add_bos)


class ChatTemplate:
    """A Jinja chat template as Hugging Face transformers runs it, in a sandbox process.

    Attributes:
        name: What messages call it. source: The Jinja text.
        default_stops: Texts that end an answer, beside the ids that do.
    """

    def __init__(self, source: str, name: str, default_stops: Sequence[str] = ()) -> None:
        """Nothing runs before the first `render`. Raises: FormatError if `source` is too long."""
        if len(source) > MAX_SOURCE_CHARS:
            raise FormatError.at(
                name,
                "chat template",
                expected=f"up to {MAX_SOURCE_CHARS} characters",
                found=len(source),
            )
        self.source = source
        self.name = name
        self.default_stops = tuple(default_stops)
        self._worker = TemplateWorker(source, name)

    def render(
        self,
        messages: Sequence[Message],
        *,
        bos_token: str,
        eos_token: str,
        special_pieces: Sequence[str],
        unk_token: str = "",
        pad_token: str = "",
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, object]] | None = None,
    ) -> Prompt:
        """The prompt for a conversation.

        Args:
            messages: The turns, each with a `role` of plain letters.
            bos_token, eos_token: Texts of the ids that begin and end a text; empty if none.
            unk_token, pad_token: Texts of the unknown piece and of padding, likewise.
            special_pieces: `Tokenizer.special_pieces`, which messages must not bring in.
            add_generation_prompt: Whether the prompt ends where the answer begins.
            tools: Functions that the model may call, as JSON schemas.
        Raises:
            ConfigError if the messages have the wrong shape or the template refuses them;
            FormatError if the template is wrong or costs too much.
        """
        check_messages(messages)
        given = _plain_data([list(messages), tools])
        _check_keys(given, special_pieces)
        variables: dict[str, object] = {
            "add_generation_prompt": add_generation_prompt,
            "bos_token": bos_token,
            "eos_token": eos_token,
            "unk_token": unk_token,
            "pad_token": pad_token,
        }

        def render(change: Change | None) -> str:
            conversation, functions = given
            if change is not None:
                conversation = map_strings(conversation, change)
                functions = map_strings(functions, change)
            return self._worker.render(variables | {"messages": conversation, "tools": functions})

        def try_render(change: Change) -> str | None:
            try:
                return render(change)
            except PyllamaRtError:
                return None

        plain = render(None)
        spans = trusted_spans(try_render, plain, given, special_pieces)
        return Prompt(spans, bool(bos_token) and plain.startswith(bos_token))

    def render_for(
        self,
        tokenizer: Tokenizer,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, object]] | None = None,
    ) -> Prompt:
        """`render` with the special pieces of `tokenizer`."""

        def text(token: int | None) -> str:
            raw = b"" if token is None else tokenizer.piece(token, special=True)
            return raw.decode("utf-8", "replace")

        return self.render(
            messages,
            bos_token=text(tokenizer.bos_id),
            eos_token=text(tokenizer.eos_id),
            unk_token=text(tokenizer.unk_id),
            pad_token=text(tokenizer.pad_id),
            special_pieces=tokenizer.special_pieces,
            add_generation_prompt=add_generation_prompt,
            tools=tools,
        )

    def close(self) -> None:
        """Ends the sandbox process; the next `render` starts another."""
        self._worker.close()


def _plain_data(values: list[object]) -> list[object]:
    try:
        plain: list[object] = json.loads(json.dumps(values, default=dict))
        list(keys_in(plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"messages and tools must be plain data that JSON can hold: {error}"
        ) from None
    return plain


def _check_keys(values: object, special_pieces: Sequence[str]) -> None:
    special = SpecialPieces({text: len(text) for text in special_pieces})
    for key in keys_in(values):
        if special.found_in(key):
            raise ConfigError(f"key {shown(key)} of a message or tool contains a special piece")
