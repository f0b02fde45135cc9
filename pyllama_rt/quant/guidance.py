"""What an importance matrix tells the quantiser about one matrix of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyllama_rt import _core
from pyllama_rt.formats.tensor_types import TensorType
from pyllama_rt.quant.importance_matrix import ImportanceMatrix


@dataclass(frozen=True, slots=True)
class Guidance:
    """What is known of the inputs that a matrix's columns meet; by default nothing.

    importance: (cols,) f32 mean squares. feedback: for rounding each element so that it makes good
    what the ones before it left, where it is known how the inputs go together.
    """

    importance: NDArray[np.float32] | None = None
    feedback: _core.Feedback | None = None


def takes_guidance(target: TensorType) -> bool:
    """Whether blocks of a type depend on guidance; those of Q8_0 follow a rule that all share."""
    return target.is_quantized and target.name != "q8_0"


def guidance_for(
    matrix: ImportanceMatrix, name: str, shape: Sequence[int], n_threads: int | None = None
) -> tuple[Guidance, ...]:
    """Guidance for each matrix of a weight, none if nothing is known of it.

    Args: shape: outermost dimension first; three dimensions are a stack of matrices.
    Raises: ConfigError if the importance matrix belongs to another model.
    """
    squares = matrix.for_weight(name, shape)
    if squares is None:
        return ()
    correlations = matrix.correlations(name)
    if correlations is None:
        return tuple(Guidance(row) for row in squares)
    threads = n_threads or _core.default_threads()
    return (Guidance(squares[0], _core.Feedback(squares[0], correlations, threads)),)
