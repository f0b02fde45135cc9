"""A checkpoint of any kind, as the writer of GGUF files needs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyllama_rt.convert.lazy_tensor import LazyTensor
from pyllama_rt.errors import FormatError, UnsupportedError
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.registry import Architecture


@dataclass(frozen=True)
class Checkpoint:
    """A model that is not GGUF yet; a reader per kind of source makes one.

    Every name and shape was checked against the config and every piece of the vocabulary against
    the embedding before it exists, so that a lying source fails before any output.

    name: for `general.name`. files: everything that it was read from. config: the architecture's.
    vocabulary: `tokenizer.*` keys. tensors: in the order to write, under their GGUF names.
    """

    name: str
    files: tuple[Path, ...]
    architecture: Architecture
    config: TransformerConfig
    vocabulary: Mapping[str, Any]
    tensors: tuple[LazyTensor, ...]

    @property
    def own_type(self) -> str:
        """The float type of most weights; f16 for checkpoints in f32."""
        sizes: Counter[str] = Counter()
        for tensor in self.tensors:
            sizes[tensor.type.name] += tensor.n_elements
        most = sizes.most_common(1)[0][0]
        return "bf16" if most == "bf16" else "f16"

    def keys(self) -> dict[str, Any]:
        """All metadata but what depends on the types chosen."""
        return {
            "general.architecture": self.architecture.name,
            "general.type": "model",
            "general.name": self.name,
            **self.architecture.metadata(self.config),
            **self.vocabulary,
        }


def model_name(file_name: str) -> str:
    """A file's name as text; it may hold bytes that are none."""
    return file_name.encode("utf-8", "replace").decode()


@contextmanager
def naming(source: object) -> Iterator[None]:
    """Puts the file before messages of checks that do not know which file they look at."""
    try:
        yield
    except (FormatError, UnsupportedError) as error:
        text = str(error)
        if text.startswith(str(source)):
            raise
        raise type(error)(f"{source}: {text}") from None
