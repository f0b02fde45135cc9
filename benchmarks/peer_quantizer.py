"""llama.cpp's quantiser, through llama-cpp-python."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from pyllama_rt.quant.importance import ImportanceMatrix


class PeerQuantizer:
    """Quantises files as `llama-quantize` does. version: of llama-cpp-python."""

    def __init__(self) -> None:
        """Raises: ImportError if llama-cpp-python is not installed."""
        import llama_cpp

        self._library: Any = llama_cpp
        self.version = str(llama_cpp.__version__)
        self._silent = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._silent, ctypes.c_void_p(0))

    def quantize(
        self,
        source: Path,
        out: Path,
        file_type: int,
        *,
        importance: ImportanceMatrix | None,
        n_threads: int,
    ) -> None:
        """Writes `out`. Args: file_type: as in `general.file_type`. Raises: RuntimeError."""
        params = self._library.llama_model_quantize_default_params()
        params.nthread, params.ftype = n_threads, file_type
        entries = self._entries(importance)
        if entries is not None:
            params.imatrix = entries
        status = self._library.llama_model_quantize(
            str(source).encode(), str(out).encode(), ctypes.byref(params)
        )
        if status != 0:
            raise RuntimeError(f"llama_model_quantize: status {status} for file type {file_type}")

    def _entries(self, importance: ImportanceMatrix | None) -> Any:
        """Mean squares by name as the library takes them, an empty name behind the last."""
        if importance is None:
            return None
        entries = (self._library.llama_model_imatrix_data * (len(importance.tensors) + 1))()
        for entry, name in zip(entries, importance.tensors, strict=False):
            values = np.ascontiguousarray(importance.of(name), np.float32).reshape(-1)
            entry.name = name.encode()
            entry.data = (ctypes.c_float * values.size)(*values.tolist())  # kept alive by the entry
            entry.size = values.size
        return entries
