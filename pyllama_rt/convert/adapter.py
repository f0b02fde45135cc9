"""A LoRA adapter, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pyllama_rt.convert.lazy_tensor import LazyTensor
from pyllama_rt.convert.low_rank import LowRank
from pyllama_rt.formats.gguf_adapter import GgufAdapter

Layout = Literal["hf", "gguf"]
"""Whose names and row order: those of a Hugging Face checkpoint or those of a GGUF file."""


@dataclass(frozen=True)
class Adapter:
    """What an adapter does to a base, by the base's tensor names.

    path: for messages. files: everything that it was read from, the weights first.
    layout: of the names and rows. deltas: what is added. replacements: what takes the base's place
    before that. tokenizer: the folder, if it brings a vocabulary. gguf: the file, if it is one.
    """

    path: Path
    files: tuple[Path, ...]
    layout: Layout
    deltas: Mapping[str, LowRank]
    replacements: Mapping[str, LazyTensor] = field(default_factory=dict)
    tokenizer: Path | None = None
    gguf: GgufAdapter | None = None
