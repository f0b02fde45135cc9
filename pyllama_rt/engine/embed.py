"""Texts to vectors: hidden states of a model, pooled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pyllama_rt.engine.load import Model
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import ConfigError

Vector = npt.NDArray[np.float32]


_ROW = {"cls": 0, "last": -1}
"""The row that stands for a whole text, by pooling."""


def pooling_of(model: Model) -> str:
    """How rows of a model become one vector: as asked for, as its file says, else the last row."""
    return model.config.pooling or model.model_config.pooling or "last"


def embed(session: Session, ids: Sequence[int], *, normalize: bool = True) -> Vector:
    """The vector of one text.

    Args: session: of a model that was loaded with `embedding=True`; what it holds is forgotten.
        normalize: whether the vector gets length 1.
    Returns: (dim,) f32.
    Raises: ConfigError for no ids, or a model that gives logits; ContextError if they do not fit.
    Source: arXiv:1908.10084, section 3.
    """
    model = session.model
    if not ids:
        raise ConfigError("embed: expected at least one token, found none")
    if model.model_config.causal and not model.config.embedding:
        raise ConfigError(f"{model.path}: load the model with embedding=True to get vectors")
    session.truncate(0)
    pooling = pooling_of(model)
    rows = session.eval(ids, all_logits=pooling != "last")
    vector: Vector = rows.mean(axis=0) if pooling == "mean" else rows[_ROW[pooling]].copy()
    if normalize:
        length = float(np.linalg.norm(vector))
        vector /= length or 1.0
    return vector
