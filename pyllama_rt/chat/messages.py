"""Messages as callers give them, checked before a template sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyllama_rt.chat.spans import is_word
from pyllama_rt.errors import ConfigError, shown

Message = Mapping[str, object]
"""`{"role": …, "content": …}` and what else a template may use."""


def check_messages(messages: object) -> None:
    """Raises ConfigError for messages of a shape that no template can take."""
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
        raise ConfigError(f"messages: expected a list, found {shown(messages)}")
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise ConfigError(f"message {i}: expected a dictionary, found {shown(message)}")
        role = message.get("role")
        if not isinstance(role, str) or not role or not is_word(role):
            # Templates print the role where special pieces are recognised.
            raise ConfigError(f"message {i}: role: expected a plain word, found {shown(role)}")
        content = message.get("content")
        if not (content is None or isinstance(content, (str, list, tuple))):
            raise ConfigError(
                f"message {i}: content: expected text or a list of parts, found {shown(content)}"
            )


def text_messages(messages: Sequence[Message]) -> list[Message]:
    """A conversation in which every content is one text, as all templates take it.

    Raises: ConfigError if there is no message, or one holds something else than text.
    """
    check_messages(messages)
    if not messages:
        raise ConfigError("messages: expected at least one message, found none")
    return [
        {**message, "content": _text(f"messages[{i}].content", message.get("content"))}
        for i, message in enumerate(messages)
    ]


def _text(where: str, content: object) -> str:
    """A text as it is, the parts of a list one after the other."""
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        raise ConfigError(f"{where}: expected text, found {shown(content)}")
    texts = []
    for i, part in enumerate(content):
        text = part.get("text") if isinstance(part, Mapping) else None
        if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(text, str):
            wanted = '{"type": "text", "text": "…"}'
            raise ConfigError(
                f"{where}[{i}]: expected {wanted}, the only part that this version reads, "
                f"found {shown(part)}"
            )
        texts.append(text)
    return "".join(texts)
