"""Runs a model over a text and counts what enters its weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.config import LoadConfig
from pyllama_rt.engine.load import Model, load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import NumericsError
from pyllama_rt.evaluate.windows import WindowConfig, Windows, cut_windows, encode_text
from pyllama_rt.quant.importance import ImportanceMatrix, InputSquares
from pyllama_rt.quant.importance_correlations import Correlations, from_products
from pyllama_rt.quant.importance_matrix import as_floats

Progress = Callable[[int, int], None]
"""Takes the windows done and the number of windows."""

_LAYERS = "blk."
"""How the names of weights begin that stand in the layers of a model."""


def collect_importance(
    path: str | os.PathLike[str],
    text: str,
    *,
    n_ctx: int = 512,
    n_windows: int | None = None,
    n_threads: int | None = None,
    process_output: bool = False,
    correlations: bool = True,
    dataset: str = "",
    progress: Progress = lambda *_: None,
) -> ImportanceMatrix:
    """The importance matrix of a model for a text.

    The text is cut into windows that stand one after the other, each begins with BOS where the
    model wants it, and every token counts. The result does not depend on the number of threads.

    Args:
        n_ctx: tokens of a window. n_windows: at most so many, from the beginning of the text.
        process_output: also the output head, which then has to be computed for every token.
        correlations: also how columns go together, of all matrices but experts.
        dataset: the text's name, for the file.
    Raises: as `load_model`; ConfigError if the text is shorter than one window; NumericsError
        naming the weight that a NaN, an infinity or too large numbers reached.
    """
    cut = WindowConfig(n_ctx=n_ctx, limit=n_windows)
    config = LoadConfig(
        n_ctx=n_ctx, n_threads=n_threads, observe="moments" if correlations else "squares"
    )
    with load_model(path, config, all_logits=process_output) as model, Session(model) as session:
        ids = encode_text(model.tokenizer, text)
        windows = cut_windows(model.tokenizer, ids, cut)
        _read(session, windows, process_output, progress)
        tensors = {
            name: InputSquares(as_floats(squares, name), as_floats(counts, name))
            for name, (squares, counts) in _sums(model).items()
            if process_output or name.startswith(_LAYERS)
        }
        for name, found in _correlations(model, tensors).items():
            tensors[name] = replace(tensors[name], correlations=found)
    return ImportanceMatrix(
        tensors,
        (dataset,),
        len(windows),
        n_ctx,
        str(path),
    )


def _read(session: Session, windows: Windows, all_logits: bool, progress: Progress) -> None:
    for n_done, window in enumerate(windows, 1):
        session.truncate(0)
        try:
            session.eval(window.ids, all_logits=all_logits)
        except NumericsError:
            _sums(session.model)  # says more about it
            raise
        progress(n_done, len(windows))


def _sums(model: Model) -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Sums and rows by weight. Raises: NumericsError naming the first whose sums are not finite."""
    found: dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]] = {}
    for name, sums, counts in model.program.tallies():
        if not np.isfinite(sums).all():
            raise NumericsError(
                f"{model.path}: what enters tensor {name!r} holds a NaN or an infinity; a weight "
                "before it is damaged (see: pyllama-rt inspect --verify)"
            )
        known = found.get(name, (0.0, 0))  # of a weight that is used twice
        found[name] = sums + known[0], counts + known[1]
    return found


def _correlations(model: Model, names: Container[str]) -> dict[str, Correlations]:
    """By weight, one array for weights that read the same; nothing of experts, or unasked."""
    inputs: dict[str, tuple[int, ...]] = {}
    for index, readers in enumerate(model.program.inputs()):
        for name in readers:
            if name in names:
                inputs[name] = (*inputs.get(name, ()), index)  # a weight may be used twice
    found: dict[tuple[int, ...], Correlations] = {}
    for indices in inputs.values():
        if indices in found:
            continue
        products = [model.program.moments(index) for index in indices]
        sums = [part for part in products if part is not None]
        if sums:
            found[indices] = from_products(sum(sums[1:], start=sums[0]))
    return {name: found[indices] for name, indices in inputs.items() if indices in found}
