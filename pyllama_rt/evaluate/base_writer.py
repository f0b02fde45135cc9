"""Saves predictions of a model, so that others can be compared with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

from pyllama_rt.errors import ConfigError
from pyllama_rt.evaluate.base_layout import (
    CLIPPED,
    HEAD_CODES,
    MAGIC,
    MAX_CODE,
    NUMBERS,
    row_codes,
    scored_of,
)
from pyllama_rt.evaluate.scored_rows import ScoredRows
from pyllama_rt.evaluate.windows import Windows
from pyllama_rt.formats.atomic_file import atomic_file


class BaseWriter:
    """Writes the rows of a file as base_layout.py describes it; made by `write_base`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, rows: ScoredRows) -> None:
        """The next rows of the windows."""
        logits = rows.logits.astype(np.float32)
        n, n_vocab = logits.shape
        highest = logits.max(axis=1)
        lowest = np.maximum(logits.min(axis=1), highest - np.float32(CLIPPED))
        scales = (highest - lowest) / np.float32(MAX_CODE)
        packed = np.zeros((n, row_codes(n_vocab)), "<u2")
        heads = np.stack([scales, lowest - rows.log_sums], axis=1).astype("<f4")
        packed[:, :HEAD_CODES] = heads.view("<u2")
        # A row whose logits are all equal has scale 0 and codes 0.
        steps = np.where(scales > 0, scales, 1)[:, None]
        codes = np.rint((np.maximum(logits, lowest[:, None]) - lowest[:, None]) / steps)
        packed[:, HEAD_CODES : HEAD_CODES + n_vocab] = np.minimum(codes, MAX_CODE)
        self._file.write(packed.data)


@contextmanager
def write_base(
    path: str | os.PathLike[str], windows: Windows, n_vocab: int
) -> Iterator[BaseWriter]:
    """A file for the predictions on windows, whole at the end of the block or not there at all.

    Raises: ConfigError for sliding windows, for which the format has no place, or if the file
        cannot be written; ResourceError if the disk is full.
    """
    if (windows.step, windows.n_scored) != (windows.n_ctx, scored_of(windows.n_ctx)):
        raise ConfigError(f"{path}: logits can be saved only of windows without a stride")
    with atomic_file(path) as file:
        file.write(MAGIC + NUMBERS.pack(windows.n_ctx, n_vocab, windows.n_windows))
        file.write(np.array(windows.ids[: windows.n_windows * windows.n_ctx], "<i4").tobytes())
        yield BaseWriter(file)
