"""Two tiny models over one text, and the plainest way to score them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tiny_llama import write_tiny_llama

from pyllama_rt.engine.load import Model
from pyllama_rt.engine.session import Session
from pyllama_rt.evaluate.windows import Windows
from pyllama_rt.formats.gguf import GgufFile

N_CTX = 16
IDS: list[int] = np.random.default_rng(1).integers(3, 273, 75).tolist()

Logs = NDArray[np.float64]


def write_pair(folder: Path) -> tuple[Path, Path]:
    """A model, and one of the same weights in few bits."""
    exact = write_tiny_llama(folder / "exact.gguf", "f32").path
    return exact, write_tiny_llama(folder / "small.gguf", "q4_0").path


def write_damaged(path: Path, name: str = "output_norm.weight", value: float = np.nan) -> Path:
    """A model with another number in one place."""
    write_tiny_llama(path, "f32")
    with GgufFile.open(path) as file:
        offset = file.tensors[name].offset
    with path.open("r+b") as raw:
        raw.seek(offset)
        raw.write(struct.pack("<f", value))
    return path


def plain_logs(model: Model, windows: Windows) -> tuple[Logs, NDArray[np.int64]]:
    """Log-probabilities of every scored row, each window read at once; and what came."""
    logs, targets = [], []
    for window in windows:
        with Session(model) as session:
            session.expect(len(window.ids))
            rows = session.eval(window.ids, all_logits=True).astype(np.float64)
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
        logs.append(rows[-1 - window.n_scored : -1])
        targets.append(window.ids[-window.n_scored :])
    return np.concatenate(logs), np.concatenate(targets)
