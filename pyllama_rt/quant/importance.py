"""Importance matrices: everything that other packages use, under one name."""

from __future__ import annotations

import os
from contextlib import closing

from pyllama_rt.formats.gguf_types import MAGIC
from pyllama_rt.formats.mapped_file import MappedFile
from pyllama_rt.quant.importance_dat import read_dat
from pyllama_rt.quant.importance_gguf import read_gguf, write_gguf
from pyllama_rt.quant.importance_matrix import ImportanceMatrix, InputSquares, merge

__all__ = ["ImportanceMatrix", "InputSquares", "merge", "read_importance", "write_importance"]


def read_importance(path: str | os.PathLike[str]) -> ImportanceMatrix:
    """Reads an importance matrix, in GGUF or in llama.cpp's older format.

    Raises: ConfigError if the file cannot be opened; FormatError if it is something else or
        damaged; UnsupportedError for versions of GGUF that are not read.
    """
    with closing(MappedFile(path)) as mapped:
        if mapped.view[: len(MAGIC)] != MAGIC:
            return read_dat(mapped)
    return read_gguf(path)


def write_importance(path: str | os.PathLike[str], matrix: ImportanceMatrix) -> None:
    """Writes an importance matrix as GGUF, whole or not at all.

    Raises: ConfigError if the file cannot be written; ResourceError if the disk is full.
    """
    write_gguf(path, matrix)
