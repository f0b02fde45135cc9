"""How the ids of a text are cut into windows, and which ids of a window are scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pyllama_rt.config import check_int
from pyllama_rt.errors import ConfigError
from pyllama_rt.tokenizer.protocol import Tokenizer

MIN_N_CTX = 3
"""The shortest window whose second half has an id to score."""

_MAX_N_CTX = 1 << 30


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """How a text is cut and scored.

    n_ctx: ids of a window. stride: None for windows that stand one after the other, of which the
    second half is scored, its first id excepted: the definition by which figures are published. A
    number for windows that begin so many ids apart, of which as many are scored, so that each
    scored id has seen at least n_ctx - stride others. limit: at most so many windows, from the
    beginning of the text.
    Source: llama.cpp, tools/perplexity/perplexity.cpp, for the definition without a stride.
    """

    n_ctx: int = 512
    stride: int | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        check_int("n_ctx", self.n_ctx, MIN_N_CTX, _MAX_N_CTX)
        if self.stride is not None:
            check_int("stride", self.stride, 1, self.n_ctx - 1)
        if self.limit is not None:
            check_int("limit", self.limit, 1, _MAX_N_CTX)


@dataclass(frozen=True, slots=True)
class Window:
    """ids: what a model reads, from an empty cache. n_scored: how many of the last are scored."""

    ids: list[int]
    n_scored: int


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of one length over the ids of a text.

    ids: of the whole text. n_ctx: ids of a window. step: ids from the beginning of one to that of
    the next. n_scored: ids at the end of each that are scored. n_windows: how many there are.
    bos_id: what stands in place of each window's first id, None to leave that as it is.
    """

    ids: list[int]
    n_ctx: int
    step: int
    n_scored: int
    n_windows: int
    bos_id: int | None

    def __len__(self) -> int:
        return self.n_windows

    def __iter__(self) -> Iterator[Window]:
        for begin in range(0, self.n_windows * self.step, self.step):
            ids = self.ids[begin : begin + self.n_ctx]
            if self.bos_id is not None:
                ids[0] = self.bos_id
            yield Window(ids, self.n_scored)

    @property
    def n_tokens(self) -> int:
        """Ids scored in all windows together."""
        return self.n_windows * self.n_scored


def cut_windows(
    tokenizer: Tokenizer, ids: list[int], config: WindowConfig | None = None
) -> Windows:
    """The windows over the ids of a text, as `encode_text` gives them.

    Raises: ConfigError if the text is shorter than one window.
    """
    config = config or WindowConfig()
    n_ctx, stride, limit = config.n_ctx, config.stride, config.limit
    if len(ids) < n_ctx:
        raise ConfigError(
            f"the text has {len(ids)} tokens; expected at least {n_ctx}, which is one window; take "
            "a longer text or shorter windows (--ctx)"
        )
    step, n_scored = (n_ctx, n_ctx - 1 - n_ctx // 2) if stride is None else (stride, stride)
    n_windows = (len(ids) - n_ctx) // step + 1
    return Windows(
        ids=ids,
        n_ctx=n_ctx,
        step=step,
        n_scored=n_scored,
        n_windows=n_windows if limit is None else min(limit, n_windows),
        bos_id=tokenizer.bos_id if tokenizer.add_bos else None,
    )


def encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text that windows are cut from; never with EOS at its end."""
    return tokenizer.encode(text, add_bos=tokenizer.add_bos)
