"""Files of named tensors that stay in their mapping: what safetensors and PyTorch files share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyllama_rt.errors import PyllamaRtError
from pyllama_rt.formats.mapped_file import MappedFile

MAX_DIMS = 8


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a file, dense and row-major.

    dtype: as safetensors names it (F32, BF16, I64 …). start, stop: absolute byte offsets.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class TensorFile:
    """A mapped file of tensors; each format is a function that parses the directory.

    tensors: by name. Two names may share their bytes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        parse: Callable[[memoryview, Path], dict[str, StoredTensor]],
    ) -> None:
        """Map and check a file.

        Args: parse: checks the whole file's bytes; every extent that it gives lies inside.
        Raises: ConfigError if it cannot be opened; what `parse` raises.
        """
        self._mapped = MappedFile(path)
        self.path = self._mapped.path
        try:
            self.tensors = parse(self._mapped.view, self.path)
        except PyllamaRtError:
            self.close()
            raise

    def data(self, name: str) -> memoryview:
        """The bytes of a tensor, read-only, in the mapping."""
        entry = self.tensors[name]
        return self._mapped.view[entry.start : entry.stop]

    def close(self) -> None:
        """Give the mapping back."""
        self._mapped.close()
