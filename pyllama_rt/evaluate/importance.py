"""Runs a model over a text and counts what enters its weights."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.config import LoadConfig
from pyllama_rt.engine.load import Model, load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import NumericsError
from pyllama_rt.evaluate.windows import WindowConfig, Windows, cut_windows, encode_text
from pyllama_rt.quant.importance import ImportanceMatrix, InputSquares
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
    dataset: str = "",
    progress: Progress = lambda *_: None,
) -> ImportanceMatrix:
    """The importance matrix of a model for a text.

    The text is cut into windows that stand one after the other, each begins with BOS where the
    model wants it, and every token counts. The sums do not depend on the number of threads.

    Args:
        n_ctx: tokens of a window. n_windows: at most so many, from the beginning of the text.
        process_output: also the output head, which then has to be computed for every token.
        dataset: the text's name, for the file.
    Raises: as `load_model`; ConfigError if the text is shorter than one window; NumericsError
        naming the weight that a NaN, an infinity or too large numbers reached.
    """
    cut = WindowConfig(n_ctx=n_ctx, limit=n_windows)
    config = LoadConfig(n_ctx=n_ctx, n_threads=n_threads, observe=True)
    with load_model(path, config, all_logits=process_output) as model, Session(model) as session:
        ids = encode_text(model.tokenizer, text)
        windows = cut_windows(model.tokenizer, ids, cut)
        _read(session, windows, process_output, progress)
        sums = _sums(model)
    return ImportanceMatrix(
        {
            name: InputSquares(as_floats(squares, name), as_floats(counts, name))
            for name, (squares, counts) in sums.items()
            if process_output or name.startswith(_LAYERS)
        },
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
