"""A GGUF file to a model that is ready to run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from pyllama_rt import _core, env
from pyllama_rt.closing import Closing
from pyllama_rt.config import DEFAULT_N_CTX, LoadConfig, RopeConfig
from pyllama_rt.engine.memory import MemoryNeed, check_memory
from pyllama_rt.errors import ConfigError, FormatError, StateError, UnsupportedError
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.formats.gguf_adapter import check_is_model
from pyllama_rt.formats.tensor_types import WEIGHT_TYPES
from pyllama_rt.graph.builder import Graph, GraphBuilder
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.registry import architecture
from pyllama_rt.models.rope import overridden
from pyllama_rt.tokenizer.protocol import Tokenizer
from pyllama_rt.tokenizer.registry import load_tokenizer


@dataclass(frozen=True, slots=True)
class Threads:
    """Threads of a one-row step, and of longer ones."""

    single: int
    batch: int

    @classmethod
    def of(cls, config: LoadConfig) -> Threads:
        """The numbers asked for, the physical cores otherwise."""
        single = config.n_threads or _core.default_threads()
        return cls(single, config.n_threads_batch or single)


class Model(Closing):
    """A loaded model: weights, tokenizer and program. Many sessions may share it.

    Use as a context manager, or call `close`.
    """

    def __init__(
        self,
        file: GgufFile,
        tokenizer: Tokenizer,
        model_config: TransformerConfig,
        program: _core.Program,
        config: LoadConfig,
    ) -> None:
        """Made by `load_model`."""
        self.path = file.path
        self.metadata = file.metadata
        self.tokenizer = tokenizer
        self.model_config = model_config
        self.config = config
        self.n_ctx = _n_ctx(model_config, config)
        self.threads = Threads.of(config)
        self._program: _core.Program | None = program
        self._file = file

    @property
    def program(self) -> _core.Program:
        """The compiled graph. Raises: StateError after `close`."""
        if self._program is None:
            raise StateError(f"{self.path}: the model is closed")
        return self._program

    @property
    def n_vocab(self) -> int:
        """Number of token ids."""
        return self.tokenizer.n_vocab

    def memory_need(self, *, all_logits: bool = False) -> MemoryNeed:
        """What the model takes with a full cache.

        Args: all_logits: whether the logits of every position are computed and kept.
        """
        rows = min(self.config.n_batch, self.n_ctx)
        outputs, kept = (rows, self.n_ctx) if all_logits else (1, 0)
        threads = max(self.threads.single, self.threads.batch)
        return MemoryNeed(
            weights=sum(info.n_bytes for info in self._file.tensors.values()),
            cache=self.program.kv_bytes_per_cell(self.config.kv_type) * self.n_ctx,
            scratch=self.program.scratch_bytes(rows, outputs, threads, self.n_ctx),
            logits=(outputs + kept) * self.program.output_width * np.dtype(np.float32).itemsize,
        )

    def new_cache(self) -> _core.KvCache:
        """A cache of n_ctx cells; its pages are allocated as they are used."""
        return _core.KvCache(self.program, self.config.kv_type, self.n_ctx)

    def close(self) -> None:
        """Frees the program and unmaps the file. Calling it twice is harmless."""
        self._program = None
        self._file.close()


def load_model(
    path: str | os.PathLike[str], config: LoadConfig | None = None, *, all_logits: bool = False
) -> Model:
    """Maps and checks a GGUF file, and binds its weights.

    Args: all_logits: whether there must be memory for the logits of every position.
    Raises: FormatError if the file is damaged, UnsupportedError if this version cannot run it,
        ResourceError if memory is short, ConfigError if it cannot be opened.
    """
    with ExitStack() as stack:
        model = _bind(path, config or LoadConfig(), stack)
        check_memory(model.memory_need(all_logits=all_logits), model.path)
        stack.pop_all()
        return model


def trained_context(path: str | os.PathLike[str]) -> int:
    """The number of positions that the model of a file was trained on. Raises: as `load_model`."""
    with GgufFile.open(Path(path)) as file:
        arch = architecture(file.get_str("general.architecture"), file.path)
        return arch.from_gguf(file).n_ctx_train


def read_memory_need(path: str | os.PathLike[str], config: LoadConfig | None = None) -> MemoryNeed:
    """What `load_model` would take, whether there is as much or not. Raises: as it does."""
    with ExitStack() as stack:
        return _bind(path, config or LoadConfig(), stack).memory_need()


def _bind(path: str | os.PathLike[str], config: LoadConfig, stack: ExitStack) -> Model:
    """A model whose file `stack` closes."""
    file = stack.enter_context(GgufFile.open(Path(path)))
    tokenizer, model_config, graph = read_model(file, config)
    with _naming(file.path):
        program = _core.Program(graph.to_text(), _weight_rows(file), env.forced_isa() or "")
    return Model(file, tokenizer, model_config, program, config)


def read_model(
    file: GgufFile, config: LoadConfig | None = None
) -> tuple[Tokenizer, TransformerConfig, Graph]:
    """The tokenizer, config and graph of a file, everything checked but the weights' values."""
    check_is_model(file)
    arch = architecture(file.get_str("general.architecture"), file.path)
    with _naming(file.path):
        model_config = arch.from_gguf(file)
        model_config = _as_asked(model_config, config or LoadConfig())
    tokenizer = load_tokenizer(file, file.path)
    shapes = {info.name: info.shape for info in file.tensors.values()}
    if not shapes:
        raise FormatError(f"{file.path}: the file holds a vocabulary but no tensors")
    graph = arch.build(model_config, GraphBuilder(shapes, source=str(file.path)))
    if config is not None and config.embedding:
        graph = graph.without_head()
    return tokenizer, model_config, graph


def _as_asked(model_config: TransformerConfig, config: LoadConfig) -> TransformerConfig:
    """The config for the context and the rotary positions that were asked for."""
    rope = model_config.rope
    if rope is None and config.rope != RopeConfig():
        raise ConfigError("rope: this model has learned positions, which cannot be scaled")
    if rope is not None:
        changed = overridden(rope, config.rope, model_config.n_ctx_train)
        model_config = replace(model_config, rope=changed)
    return model_config.for_context(_n_ctx(model_config, config))


def _n_ctx(model_config: TransformerConfig, config: LoadConfig) -> int:
    """Positions of a sequence: those asked for, or the trained ones up to a default."""
    return config.n_ctx or min(model_config.n_ctx_train, DEFAULT_N_CTX)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts the path before what is wrong with a file, where the message does not name it yet."""
    try:
        yield
    except (FormatError, UnsupportedError) as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from None


def _weight_rows(file: GgufFile) -> list[tuple[str, str, int, int, memoryview, int]]:
    """Name, type, rows, columns, mapping and offset of every tensor, as `_core.Program` takes it.

    Raises: UnsupportedError for integer tensors.
    """
    rows = []
    mappings = file.mappings
    for info in file.tensors.values():
        if info.type.name not in WEIGHT_TYPES:
            raise UnsupportedError(
                f"{file.path}: tensor {info.name!r}: type {info.type.name} cannot be a weight"
            )
        n_rows = prod(info.shape[:-1])
        mapping = mappings[info.file_index]
        rows.append((info.name, info.type.name, n_rows, info.shape[-1], mapping, info.offset))
    return rows
