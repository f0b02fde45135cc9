"""Whether GGUF has keys for everything that a config says."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.errors import UnsupportedError, shown
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.registry import Architecture
from pyllama_rt.models.rope import Rope


class _FlatMetadata(JsonMetadata):
    """Metadata whose keys hold dots, as GGUF's do."""

    def get(self, key: str) -> Any:
        """The value as it is, None if absent."""
        return self.values.get(key)


def check_gguf_holds(architecture: Architecture, config: TransformerConfig) -> None:
    """Raises UnsupportedError for what a reader of the file would not find there.

    Some choices of a family have no key, and readers take them from the architecture's name.
    """
    keys = {**architecture.metadata(config), "tokenizer.ggml.tokens": [""] * config.vocab_size}
    found = architecture.from_gguf(_FlatMetadata(keys, "metadata"))
    wanted = replace(config, query_scale=config.attention_scale())
    found = replace(found, query_scale=found.attention_scale())
    for field in fields(TransformerConfig):
        ours, theirs = getattr(wanted, field.name), getattr(found, field.name)
        if not _same(ours, theirs):
            raise UnsupportedError(
                f"{field.name}: GGUF has no key for {shown(ours)} in architecture "
                f"{architecture.name}; readers would take {shown(theirs)}"
            )


def _same(ours: object, theirs: object) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-6)
    if isinstance(ours, Rope) and isinstance(theirs, Rope):  # divisors become tensors
        return _plain(ours) == _plain(theirs)
    return ours == theirs


def _plain(rope: Rope) -> Rope:
    return replace(rope, divisors=(), short_divisors=(), long_divisors=())
