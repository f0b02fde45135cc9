"""Architectures by name. A model file ends with one `register(...)` call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from pyllama_rt import models
from pyllama_rt.errors import UnsupportedError, did_you_mean, shown
from pyllama_rt.graph.builder import Graph, GraphBuilder
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models.config import TransformerConfig


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of an architecture; `{i}` in a name is the layer, `{e}` an expert.

    gguf, hf: its names. With `{e}` in the checkpoint's name GGUF stacks all experts' tensors.
    shape: in GGUF, symbols that `TransformerConfig.sizes` resolves, NumPy order.
    transform: "" or a name from pyllama_rt/convert/transforms.py, applied on the way to GGUF.
    optional: absent in some checkpoints.
    """

    gguf: str
    hf: str
    shape: tuple[str, ...]
    transform: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Architecture:
    """Everything that loading and converting ask of an architecture.

    name: `general.architecture`. hf_names: names in config.json's `architectures`.
    from_gguf, from_hf: read a config. hf_keys: what `hf_keys.py` may let through.
    metadata: config to GGUF keys and values. tensors: those of a config. build: emits the graph.
    hf_prefix: what may stand before the names of a checkpoint's tensors. hf_ignored: an expression
    for names, without it, that hold nothing the graph reads.
    """

    name: str
    hf_names: tuple[str, ...]
    from_gguf: Callable[[MetadataReader], TransformerConfig]
    from_hf: Callable[[MetadataReader], TransformerConfig]
    hf_keys: frozenset[str]
    metadata: Callable[[TransformerConfig], dict[str, Any]]
    tensors: Callable[[TransformerConfig], tuple[TensorSpec, ...]]
    build: Callable[[TransformerConfig, GraphBuilder], Graph]
    hf_prefix: str = ""
    hf_ignored: str = r".*\.rotary_emb\.inv_freq"


_BY_NAME: dict[str, Architecture] = {}


def register(architecture: Architecture) -> None:
    """Makes an architecture known under its name."""
    _BY_NAME[architecture.name] = architecture


def _load_all() -> None:
    """Every file of the folder, so that an architecture is known by being there."""
    for module in iter_modules(models.__path__):
        import_module(f"pyllama_rt.models.{module.name}")


def architecture(name: str, source: object = "model") -> Architecture:
    """The architecture called `name` in `general.architecture`.

    Raises: UnsupportedError naming the closest known one.
    """
    _load_all()
    found = _BY_NAME.get(name)
    if found is None:
        raise UnsupportedError(
            f"{source}: architecture {shown(name)} is not supported"
            f"{did_you_mean(name, _BY_NAME)}; known: {', '.join(sorted(_BY_NAME))}"
        )
    return found


def architecture_of_hf(names: list[str], source: object = "config.json") -> Architecture:
    """The architecture for the names in config.json's `architectures`.

    Raises: UnsupportedError naming the closest known one.
    """
    _load_all()
    known = {hf_name: arch for arch in _BY_NAME.values() for hf_name in arch.hf_names}
    for name in names:
        if name in known:
            return known[name]
    wanted = names[0] if names else ""
    raise UnsupportedError(
        f"{source}: architecture {shown(wanted)} is not supported"
        f"{did_you_mean(wanted, known)}; known: {', '.join(sorted(known))}"
    )
