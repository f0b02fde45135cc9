"""Generated chunks to the texts and log-probabilities that responses hold."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence

from pyllama_rt.compat.responses import ChatLogprob, ChatLogprobs, Logprobs, Part
from pyllama_rt.engine.generate import Chunk
from pyllama_rt.engine.logprobs import TokenLogprob, token_logprob
from pyllama_rt.engine.session import Logits
from pyllama_rt.tokenizer.protocol import Tokenizer


class Describer:
    """Describes the chunks of one text, one after the other."""

    def __init__(self, tokenizer: Tokenizer, n_top: int | None, offset: int) -> None:
        """Starts a text.

        Args: n_top: likeliest tokens to name for each, None for no log-probabilities at all.
            offset: characters before the text.
        """
        self._tokenizer = tokenizer
        self._n_top = n_top
        self._offset = offset
        self._utf8 = codecs.getincrementaldecoder("utf-8")("ignore")

    def parts(self, chunks: Iterable[Chunk]) -> Iterator[Part]:
        """One part for each chunk."""
        for chunk in chunks:
            rows: list[TokenLogprob] | None = None
            if self._n_top is not None:
                rows = [token_logprob(t.id, t.logits, self._n_top) for t in chunk.tokens]
            yield self._part(chunk.text, rows, len(chunk.tokens), chunk.finish_reason)

    def echo(self, text: str, ids: Sequence[int], logits: Logits | None) -> Part:
        """A part for the prompt.

        Args: logits: (len(ids), n_vocab); row i predicts token i + 1. None without
            log-probabilities.
        """
        rows: list[TokenLogprob] | None = None
        if self._n_top is not None and logits is not None:
            first = 1 if ids[0] == self._tokenizer.bos_id else 0
            rows = [TokenLogprob(token, None, ()) for token in ids[first : first + 1]]
            rows += [
                token_logprob(ids[i], logits[i - 1], self._n_top)
                for i in range(first + 1, len(ids))
            ]
        return self._part(text, rows, 0, None)

    def _part(
        self, text: str, rows: list[TokenLogprob] | None, n_tokens: int, reason: str | None
    ) -> Part:
        if rows is None:
            return Part(text, None, None, n_tokens, reason)
        return Part(text, self._logprobs(rows), self._chat_logprobs(rows), n_tokens, reason)

    def _logprobs(self, rows: Sequence[TokenLogprob]) -> Logprobs:
        described: Logprobs = {
            "tokens": [],
            "text_offset": [],
            "token_logprobs": [],
            "top_logprobs": [],
        }
        for row in rows:
            described["tokens"].append(self._text(row.id))
            described["text_offset"].append(self._offset)
            described["token_logprobs"].append(row.logprob)
            described["top_logprobs"].append(self._top(row))
            self._offset += len(self._utf8.decode(self._tokenizer.piece(row.id)))
        return described

    def _top(self, row: TokenLogprob) -> dict[str, float] | None:
        """The likeliest ones and the token itself; of two with the same text, the likelier."""
        if row.logprob is None:
            return None
        top: dict[str, float] = {}
        for token, logprob in (*row.top, (row.id, row.logprob)):
            text = self._text(token)
            top[text] = max(logprob, top.get(text, logprob))
        return top

    def _chat_logprobs(self, rows: Sequence[TokenLogprob]) -> ChatLogprobs:
        content: list[ChatLogprob] = [
            {
                "token": self._text(row.id),
                "logprob": row.logprob,
                "bytes": list(self._tokenizer.piece(row.id)),
                "top_logprobs": [
                    {
                        "token": self._text(token),
                        "logprob": logprob,
                        "bytes": list(self._tokenizer.piece(token)),
                    }
                    for token, logprob in row.top
                ],
            }
            for row in rows
        ]
        return {"content": content, "refusal": None}

    def _text(self, token: int) -> str:
        return self._tokenizer.piece(token).decode("utf-8", "ignore")


def joined_logprobs(parts: Sequence[Part]) -> Logprobs | None:
    """The log-probabilities of a whole text."""
    found = [part.logprobs for part in parts if part.logprobs is not None]
    if not found:
        return None
    return {
        "tokens": [item for one in found for item in one["tokens"]],
        "text_offset": [item for one in found for item in one["text_offset"]],
        "token_logprobs": [item for one in found for item in one["token_logprobs"]],
        "top_logprobs": [item for one in found for item in one["top_logprobs"]],
    }


def joined_chat_logprobs(parts: Sequence[Part]) -> ChatLogprobs | None:
    """The log-probabilities of a whole answer."""
    found = [part.chat_logprobs for part in parts if part.chat_logprobs is not None]
    if not found:
        return None
    return {"content": [item for one in found for item in one["content"]], "refusal": None}
