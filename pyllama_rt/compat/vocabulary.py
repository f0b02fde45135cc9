"""The part of a model that needs no weights, under the names of llama-cpp-python."""

from __future__ import annotations

from collections.abc import Sequence

from pyllama_rt.formats.gguf import Metadata
from pyllama_rt.tokenizer.protocol import Tokenizer

NO_TOKEN = -1
"""What stands for a special token that the vocabulary lacks."""


def metadata_texts(metadata: Metadata) -> dict[str, str]:
    """Every value that is no array, as text."""
    return {key: _text(metadata[key]) for key in metadata if metadata.element_type(key) is None}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, float) else str(value)


class Vocabulary:
    """Text to ids and back."""

    tokenizer: Tokenizer

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """The ids of `text`.

        Args:
            add_bos: Whether BOS comes first, where the model file wants it at all.
            special: Whether pieces such as `<s>` in the text become their ids.
        """
        add_bos = add_bos and self.tokenizer.add_bos
        return self.tokenizer.encode(text, add_bos=add_bos, special=special)

    def detokenize(
        self,
        tokens: Sequence[int],
        prev_tokens: Sequence[int] | None = None,
        special: bool = False,
    ) -> bytes:
        """The bytes of `tokens`; the space before the first word is left out behind BOS.

        Args:
            prev_tokens: For compatibility; pieces do not depend on those before them.
            special: Whether pieces such as `<s>` give their text.
        """
        del prev_tokens
        text = b"".join(self.tokenizer.piece(token, special=special) for token in tokens)
        starts = len(tokens) > 0 and tokens[0] == self.tokenizer.bos_id and not special
        return text.removeprefix(b" ") if starts else text

    def n_vocab(self) -> int:
        """Number of token ids."""
        return self.tokenizer.n_vocab

    def token_bos(self) -> int:
        """The id that begins a text, or -1."""
        return NO_TOKEN if self.tokenizer.bos_id is None else self.tokenizer.bos_id

    def token_eos(self) -> int:
        """The id that ends a text, or -1."""
        return NO_TOKEN if self.tokenizer.eos_id is None else self.tokenizer.eos_id

    def token_nl(self) -> int:
        """The id of a line break, or -1."""
        ids = self.tokenizer.encode("\n", add_bos=False)
        return ids[-1] if ids else NO_TOKEN
