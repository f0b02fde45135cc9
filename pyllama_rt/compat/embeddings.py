"""Vectors of texts, under the names of llama-cpp-python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from pyllama_rt.compat.texts import TextLevel
from pyllama_rt.engine.embed import embed
from pyllama_rt.errors import ConfigError


class EmbeddingData(TypedDict):
    """One text's vector."""

    object: str
    index: int
    embedding: list[float]


class EmbeddingUsage(TypedDict):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class CreateEmbedding(TypedDict):
    """What `create_embedding` gives."""

    object: str
    data: list[EmbeddingData]
    model: str
    usage: EmbeddingUsage


class EmbeddingLevel(TextLevel):
    """Vectors, of models that were loaded with `embedding=True` or that give nothing else."""

    def embed(
        self, input: str | Sequence[str], normalize: bool = False, truncate: bool = False
    ) -> list[float] | list[list[float]]:
        """The vector of a text, or of each of several.

        Args:
            normalize: Whether a vector gets length 1.
            truncate: Whether what exceeds the context is cut off instead of being an error.
        """
        vectors, _ = self._vectors(input, normalize, truncate)
        return vectors[0] if isinstance(input, str) else vectors

    def create_embedding(
        self, input: str | Sequence[str], model: str | None = None
    ) -> CreateEmbedding:
        """The vectors of one or several texts, of length 1, in the shape of OpenAI's interface."""
        vectors, n_tokens = self._vectors(input, True, False)
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": i, "embedding": vector}
                for i, vector in enumerate(vectors)
            ],
            "model": model if model is not None else self.model_path,
            "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens},
        }

    def _vectors(
        self, input: str | Sequence[str], normalize: bool, truncate: bool
    ) -> tuple[list[list[float]], int]:
        texts = [input] if isinstance(input, str) else list(input)
        if not all(isinstance(text, str) for text in texts):
            raise ConfigError("input: expected a text or a list of texts")
        vectors, n_tokens = [], 0
        with self._lock:
            session = self._running
            for text in texts:
                ids = self.tokenizer.encode(text)
                ids = ids[: self.n_ctx()] if truncate else ids
                vectors.append(embed(session, ids, normalize=normalize).tolist())
                n_tokens += len(ids)
        return vectors, n_tokens
