"""Reads predictions that were saved to compare other models with."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pyllama_rt.closing import Closing
from pyllama_rt.errors import ConfigError, FormatError
from pyllama_rt.evaluate.base_layout import (
    CLIPPED,
    HEAD_CODES,
    HEADER_BYTES,
    MAGIC,
    NUMBERS,
    row_codes,
    scored_of,
)
from pyllama_rt.evaluate.divergence import BaseRows
from pyllama_rt.evaluate.scored_rows import Floats, Ints
from pyllama_rt.evaluate.windows import MIN_N_CTX
from pyllama_rt.small_file import open_regular

_TOLERANCE = 0.01
"""Nats that rounding may put a logarithm beyond its bounds."""


class BaseFile(Closing):
    """A base (see divergence.py) in a file as base_layout.py describes it.

    n_ctx: ids of a window. n_windows: how many there are. ids: (n_windows · n_ctx,) of the text.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Reads all but the rows, for which there must be room in the file.

        Raises: ConfigError if it cannot be opened; FormatError if it is damaged or another file.
        """
        self.path = Path(path)
        self._file = open(open_regular(self.path), "rb")  # noqa: SIM115
        try:
            self._read_header(os.fstat(self._file.fileno()).st_size)
        except BaseException:
            self._file.close()
            raise

    def check_ids(self, ids: list[int]) -> None:
        """Raises ConfigError unless the file was made of the text with these ids."""
        given = np.array(ids[: len(self.ids)], np.int64)
        differs = np.flatnonzero(given != self.ids[: len(given)])
        if len(differs) or len(given) < len(self.ids):
            where = differs[0] if len(differs) else len(given)
            raise ConfigError(
                f"{self.path}: the base was made of another text or vocabulary: token {where} "
                f"differs; it holds its {len(self.ids)} tokens, so that no text need be given"
            )

    def rows(self, first: int, targets: Ints) -> BaseRows:
        """As Base says. Raises: FormatError if a row holds impossible numbers."""
        log_p, codes = self._log_probabilities(first, len(targets))
        p = np.exp(log_p)
        # What was clipped has no known probability; llama-perplexity leaves it out as well.
        p[log_p <= -CLIPPED] = 0
        return BaseRows(
            probabilities=p,
            self_terms=np.einsum("ij,ij->i", p, log_p),
            losses=-log_p[np.arange(len(targets)), targets],
            best=codes.argmax(axis=1),
        )

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _read_header(self, n_bytes: int) -> None:
        raw = self._file.read(HEADER_BYTES)
        if raw[: len(MAGIC)] != MAGIC:
            raise self._wrong("magic", 0, f"{MAGIC!r}, a file of --save-logits", raw[: len(MAGIC)])
        if len(raw) < HEADER_BYTES:
            raise self._wrong("header", 0, f"{HEADER_BYTES} bytes", len(raw))
        self.n_ctx, self.n_vocab, self.n_windows = NUMBERS.unpack(raw[len(MAGIC) :])
        least = {"n_ctx": MIN_N_CTX, "n_vocab": 1, "n_windows": 1}
        for i, (name, low) in enumerate(least.items()):
            if getattr(self, name) < low:
                offset = len(MAGIC) + 4 * i
                raise self._wrong(name, offset, f"at least {low}", getattr(self, name))
        n_ids = self.n_windows * self.n_ctx
        self.n_rows = self.n_windows * scored_of(self.n_ctx)
        self._row_bytes = 2 * row_codes(self.n_vocab)
        self._first_row = HEADER_BYTES + 4 * n_ids
        wanted = self._first_row + self.n_rows * self._row_bytes
        if n_bytes < wanted:
            expected = f"{wanted} bytes for {self.n_windows} windows of {self.n_ctx} tokens"
            raise self._wrong("size", n_bytes, expected, f"{n_bytes}; the file is cut short")
        self.ids = np.frombuffer(self._file.read(4 * n_ids), "<i4").astype(np.int64)
        bad = np.flatnonzero((self.ids < 0) | (self.ids >= self.n_vocab))
        if len(bad):
            offset = HEADER_BYTES + 4 * int(bad[0])
            found = self.ids[bad[0]]
            raise self._wrong("token", offset, f"0 to {self.n_vocab - 1}", found)

    def _log_probabilities(self, first: int, n: int) -> tuple[Floats, npt.NDArray[np.uint16]]:
        """(n, n_vocab) logarithms and the codes that they come from."""
        offset = self._first_row + first * self._row_bytes
        self._file.seek(offset)
        raw = self._file.read(n * self._row_bytes)
        if len(raw) < n * self._row_bytes:
            raise self._wrong("rows", offset, f"{n * self._row_bytes} bytes", len(raw))
        rows = np.frombuffer(raw, "<u2").reshape(n, -1)
        heads = np.frombuffer(rows[:, :HEAD_CODES].tobytes(), "<f4").reshape(n, 2)
        codes = rows[:, HEAD_CODES : HEAD_CODES + self.n_vocab]
        with np.errstate(invalid="ignore"):  # of damaged files
            scales, lowest = heads.astype(np.float64).T
            highest = lowest + scales * codes.max(axis=1)
        least = -CLIPPED - np.log(self.n_vocab) - _TOLERANCE
        good = (scales >= 0) & (lowest >= least) & (highest <= _TOLERANCE)  # a NaN is not good
        if not good.all():
            row = int(np.flatnonzero(~good)[0])
            raise self._wrong(
                "scale and minimum",
                offset + row * self._row_bytes,
                f"log-probabilities from {least:.2f} to 0",
                f"{scales[row]:g} and {lowest[row]:g}",
            )
        return codes * scales[:, None] + lowest[:, None], codes

    def _wrong(self, field: str, offset: int, expected: object, found: object) -> FormatError:
        return FormatError.at(self.path, field, expected=expected, found=found, offset=offset)
