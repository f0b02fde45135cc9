"""Text and conversations to the ids that a model reads."""

from __future__ import annotations

from pyllama_rt.chat.builtin import choose
from pyllama_rt.chat.templates import ChatTemplate
from pyllama_rt.formats.gguf import Metadata
from pyllama_rt.tokenizer.protocol import Tokenizer

TEMPLATE_KEY = "tokenizer.chat_template"


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a whole prompt, special pieces recognised, with one BOS where the model wants it.

    No EOS follows, because the text goes on.
    """
    ids = tokenizer.encode(text, add_bos=False, special=True)
    bos = tokenizer.bos_id
    if tokenizer.add_bos and bos is not None and ids[:1] != [bos]:
        ids.insert(0, bos)
    return ids


def has_template(metadata: Metadata) -> bool:
    """Whether the model file brings a chat template."""
    return TEMPLATE_KEY in metadata


def chat_template(metadata: Metadata, name: str | None = None) -> ChatTemplate:
    """The built-in template called `name`, or the model file's own.

    Raises: ConfigError if the name is unknown, or if it is None and the file has no template;
        FormatError if the file's is no text.
    """
    own = metadata.get(TEMPLATE_KEY)
    if own is not None and not isinstance(own, str):
        raise metadata.wrong_type(TEMPLATE_KEY, "a string")
    return choose(name, own, metadata.path)
