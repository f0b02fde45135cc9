"""The types with which a file has a wanted size and loses least by what was measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from pyllama_rt.convert.type_options import TypeOptions, read_type_options
from pyllama_rt.errors import ConfigError
from pyllama_rt.evaluate.sensitivity import Progress, measure_losses
from pyllama_rt.evaluate.windows import WindowConfig
from pyllama_rt.quant.allocate import Option, allocate
from pyllama_rt.quant.importance import ImportanceMatrix

N_CTX = 512
N_WINDOWS = 4
"""How much is read of the text; more moves the choice little."""


@dataclass(frozen=True, slots=True)
class SizeTarget:
    """One of the two: n_bytes of the whole file, or bits_per_weight, the mean over all tensors."""

    n_bytes: int | None = None
    bits_per_weight: float | None = None

    def __post_init__(self) -> None:
        if (self.n_bytes is None) == (self.bits_per_weight is None):
            raise ConfigError("expected a target size or target bits per weight, one of the two")

    def room(self, options: TypeOptions) -> int:
        """Bytes that the weights may take.

        Raises: ConfigError if they take more in their smallest types.
        """
        if self.n_bytes is not None:
            room = self.n_bytes - options.rest_bytes
            wanted, least = f"{self.n_bytes:,} bytes", f"{options.least + options.rest_bytes:,}"
        else:
            bits = self.bits_per_weight or 0.0
            room = int(bits * options.n_elements / 8) - options.rest_data
            smallest = 8 * (options.least + options.rest_data) / options.n_elements
            wanted, least = f"{bits:g} bits per weight", f"{smallest:.4f}"
        if room < options.least:
            raise ConfigError(
                f"{options.path}: cannot be made as small as {wanted}; expected at least {least}, "
                "with every weight in its smallest type"
            )
        return room


@dataclass(frozen=True, slots=True)
class ChosenTypes:
    """types: by weight, as `quantize_file` takes them. kl: predicted divergence, nats a token."""

    types: dict[str, str]
    kl: float


def choose_types(
    source: str | os.PathLike[str],
    target: SizeTarget,
    text: str,
    *,
    config: WindowConfig | None = None,
    tensor_types: Sequence[str] = (),
    allow_requantize: bool = False,
    importance: ImportanceMatrix | None = None,
    n_threads: int | None = None,
    progress: Progress = lambda *_: None,
) -> ChosenTypes:
    """The types of a model's weights with which it has the wanted size and loses least.

    The model reads the windows of the text once for each of its weights.

    Args:
        config: what is read of the text; N_WINDOWS of N_CTX tokens by default.
        tensor_types, allow_requantize, importance, n_threads: as `quantize_file`, which should get
            the same.
    Raises: as `quantize_file` and `load_model`; ConfigError if the target is too small or the text
        is shorter than one window.
    """
    config = config or WindowConfig(n_ctx=N_CTX, limit=N_WINDOWS)
    options = read_type_options(
        source, tensor_types=tensor_types, allow_requantize=allow_requantize
    )
    room = target.room(options)
    losses = measure_losses(
        source, options.weights, text, config=config, importance=importance, n_threads=n_threads,
        progress=progress,
    )  # fmt: skip
    candidates = [
        [Option(kind, n_bytes, losses[name][kind]) for kind, n_bytes in sizes.items()]
        for name, sizes in options.weights.items()
    ]
    chosen = allocate(candidates, room)
    types = {name: option.type for name, option in zip(options.weights, chosen, strict=True)}
    return ChosenTypes(types, sum(option.loss for option in chosen))
