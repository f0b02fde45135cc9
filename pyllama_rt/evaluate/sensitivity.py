"""What each way to store each weight costs: measured once a weight, the rest by its squared errors.

As long as errors are small the divergence grows with their squares, so that one measured type tells
about the others of a weight; and the divergences of several weights about add up.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.config import LoadConfig
from pyllama_rt.convert.quantize_file import source_tensors
from pyllama_rt.convert.write import EncodedTensor
from pyllama_rt.engine.load import StandIn, load_model
from pyllama_rt.errors import NumericsError
from pyllama_rt.evaluate.baseline import Baseline
from pyllama_rt.evaluate.divergence import compare
from pyllama_rt.evaluate.windows import WindowConfig, cut_windows, encode_text
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.formats.gguf_types import TensorInfo
from pyllama_rt.formats.tensor_types import TensorType
from pyllama_rt.quant import dequantize, quantize
from pyllama_rt.quant.guidance import Guidance, guidance_for
from pyllama_rt.quant.importance import ImportanceMatrix
from pyllama_rt.quant.mixes import fit_to_rows

Progress = Callable[[int, int, str], None]
"""Takes the passes over the windows that are done, their number, and what was measured."""

PROBE = "q3_k"
"""What is measured: far above the noise, and small enough for errors to act by their squares."""

_SAMPLE_ELEMENTS = 1 << 18
"""About so many elements of a weight are quantised to every type."""

Losses = dict[str, dict[str, float]]
"""By weight and type: mean divergence, nats a token, if that weight alone were of that type."""


def measure_losses(
    source: str | os.PathLike[str],
    options: Mapping[str, Collection[str]],
    text: str,
    *,
    config: WindowConfig,
    importance: ImportanceMatrix | None = None,
    n_threads: int | None = None,
    progress: Progress = lambda *_: None,
) -> Losses:
    """What it costs to store each weight of a model as each of its types.

    The windows are read once for each weight; of quantised ones two at most are held in memory.

    Args:
        options: types by weight. importance: what the weights would be quantised with.
    Raises: as `load_model`; ConfigError if the text is shorter than one window; NumericsError for
        weights that are not finite.
    """
    load = LoadConfig(n_ctx=config.n_ctx, n_threads=n_threads)
    found: Losses = {}
    with GgufFile.open(source) as file, load_model(source, load) as model:
        windows = cut_windows(model.tokenizer, encode_text(model.tokenizer, text), config)
        with Baseline(model, windows) as base:
            progress(1, 1 + len(options), "the weights as they are")
            tensors = source_tensors(file, importance)
            for n_done, (name, types) in enumerate(options.items(), 2):
                info = file.tensors[name]
                probe = fit_to_rows(PROBE, info.shape[-1])
                stand_in = _encoded(tensors[name], info, probe, n_threads)
                errors = _squared_errors(file, info, {*types, probe.name}, importance, n_threads)
                loss = 0.0
                if errors[probe.name] > 0:
                    model.set_weights({name: stand_in})
                    # Rounding may leave a divergence of nothing just below zero.
                    loss = max(0.0, compare(model, windows, base).kl.value) / errors[probe.name]
                found[name] = {type_name: loss * errors[type_name] for type_name in types}
                progress(n_done, 1 + len(options), name)
    return found


def _encoded(
    tensor: EncodedTensor, info: TensorInfo, target: TensorType, n_threads: int | None
) -> StandIn:
    n_rows = math.prod(info.shape[:-1])
    data = np.empty(n_rows * target.row_bytes(info.shape[-1]), np.uint8)
    n_done = 0
    for chunk in tensor.encoded(target, n_threads):
        data[n_done : n_done + chunk.size] = chunk.ravel()
        n_done += chunk.size
    return StandIn(target.name, data.data)


def _squared_errors(
    file: GgufFile,
    info: TensorInfo,
    types: Collection[str],
    importance: ImportanceMatrix | None,
    n_threads: int | None,
) -> dict[str, float]:
    """Sums of squared errors by type over a sample of rows, weighted by what enters the columns."""
    errors = dict.fromkeys(types, 0.0)
    for rows, guidance in _samples(file, info, importance, n_threads):
        for type_name in types:
            try:
                blocks = quantize(rows, type_name, guidance=guidance, n_threads=n_threads)
            except NumericsError as error:
                raise NumericsError(
                    f"{file.path}: tensor {info.name}: {error}; choose its type with --tensor-type"
                ) from None
            lost = dequantize(blocks, type_name, rows.shape, n_threads=n_threads) - rows
            by_column = np.square(lost, dtype=np.float64).sum(axis=0)
            weights = 1.0 if guidance.importance is None else guidance.importance
            errors[type_name] += float((by_column * weights).sum())
    return errors


def _samples(
    file: GgufFile, info: TensorInfo, importance: ImportanceMatrix | None, n_threads: int | None
) -> Iterator[tuple[NDArray[np.float32], Guidance]]:
    """Rows that stand evenly apart, of each matrix with what is known of its inputs."""
    parts: tuple[Guidance, ...] = ()
    if importance is not None:
        parts = guidance_for(importance, info.name, info.shape, n_threads)
    parts = parts or (Guidance(),)
    width = info.shape[-1]
    stored = np.frombuffer(file.tensor_data(info.name), np.uint8)
    matrices = stored.reshape(len(parts), -1, info.type.row_bytes(width))
    n_rows = matrices.shape[1]
    n_taken = max(1, min(n_rows, _SAMPLE_ELEMENTS // width // len(parts)))
    picked = np.linspace(0, n_rows - 1, n_taken).astype(np.int64)
    for matrix, guidance in zip(matrices, parts, strict=True):
        blocks = matrix[picked]
        yield dequantize(blocks, info.type.name, (n_taken, width)), guidance
