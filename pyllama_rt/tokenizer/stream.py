"""Ids to text one at a time, never cutting a character in half."""

from __future__ import annotations

import codecs

from pyllama_rt.tokenizer.protocol import Tokenizer


class StreamDecoder:
    """Turns a stream of ids into a stream of whole characters.

    The pieces given out, joined, are `decode(ids)` read as UTF-8 with U+FFFD for what is invalid.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, at_start: bool = False, special: bool = False
    ) -> None:
        """Starts a stream.

        Args:
            at_start: Whether the first id begins a text, so that the space `encode` would have put
                there is removed; False for ids that continue a prompt.
            special: Whether control pieces give their text.
        """
        self._tokenizer = tokenizer
        self._at_start = at_start
        self._special = special
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that `token` completes; bytes of an unfinished character wait."""
        piece = self._tokenizer.piece(token, special=self._special)
        if self._at_start and self._tokenizer.piece(token):
            piece = self._tokenizer.decode([token], special=self._special)
            self._at_start = False
        return self._utf8.decode(piece)

    def flush(self) -> str:
        """What was held back, at the end of the stream: U+FFFD for an unfinished character."""
        return self._utf8.decode(b"", final=True)
