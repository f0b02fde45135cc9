"""A GGUF file to a model that is ready to run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from pyllama_rt import _core, env
from pyllama_rt.closing import Closing
from pyllama_rt.config import DEFAULT_N_CTX, LoadConfig, LoraConfig
from pyllama_rt.engine.adapters import Adapters, open_adapters
from pyllama_rt.engine.memory import MemoryNeed, check_memory
from pyllama_rt.errors import ConfigError, FormatError, StateError, UnsupportedError
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.formats.gguf_adapter import check_is_model
from pyllama_rt.formats.gguf_types import TensorInfo
from pyllama_rt.formats.tensor_types import WEIGHT_TYPES
from pyllama_rt.graph.builder import Graph, GraphBuilder, LowRankPair
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


@dataclass(frozen=True, slots=True)
class StandIn:
    """Bytes that a model runs with in place of a tensor of its file.

    type: a name of WEIGHT_TYPES. data: the bytes of all rows.
    """

    type: str
    data: memoryview


class Model(Closing):
    """A loaded model: weights, tokenizer and program. Many sessions may share it.

    version: another number after every change of adapters or weights. Use as a context manager, or
    call `close`.
    """

    def __init__(
        self,
        file: GgufFile,
        tokenizer: Tokenizer,
        model_config: TransformerConfig,
        bound: BoundGraph,
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
        self.version = 0
        self._stand_ins: Mapping[str, StandIn] = {}
        self._bound: BoundGraph | None = bound
        self._file = file

    @property
    def program(self) -> _core.Program:
        """The compiled graph. Raises: StateError after `close`."""
        return self._open().program

    def _open(self) -> BoundGraph:
        if self._bound is None:
            raise StateError(f"{self.path}: the model is closed")
        return self._bound

    @property
    def loras(self) -> tuple[LoraConfig, ...]:
        """The adapters that the model runs with."""
        return self.config.loras

    def set_loras(self, loras: Sequence[LoraConfig]) -> None:
        """Runs with other adapters from now on; sessions read their texts again when they go on.

        Call it while no session is at work.
        Raises: as `load_model`; then the adapters stay as they were.
        """
        self._bind(replace(self.config, loras=tuple(loras)), self._stand_ins)

    def set_weights(self, stand_ins: Mapping[str, StandIn]) -> None:
        """Runs with other bytes in place of the named tensors, and with the file's own elsewhere.

        Call it while no session is at work. The names are those of matrices in the file.
        Raises: as `load_model`; then the weights stay as they were.
        """
        self._bind(self.config, stand_ins)

    def _bind(self, config: LoadConfig, stand_ins: Mapping[str, StandIn]) -> None:
        old = self._open()
        self._bound = _bind_graph(self._file, self.model_config, config, stand_ins)
        self.config, self._stand_ins = config, stand_ins
        self.version += 1
        old.close()

    @property
    def graph(self) -> Graph:
        """What the program computes. Raises: StateError after `close`."""
        return self._open().graph

    @property
    def n_vocab(self) -> int:
        """Number of token ids."""
        return self.tokenizer.n_vocab

    @property
    def gives_vectors(self) -> bool:
        """Whether a step gives hidden states instead of logits."""
        return self.config.embedding or not self.model_config.causal

    def check_writes(self) -> None:
        """Raises ConfigError for a model that gives vectors instead of text."""
        if self.gives_vectors:
            raise ConfigError(
                f"{self.path}: the model gives vectors, not text; for text load one that writes, "
                "without embedding"
            )

    def memory_need(self, *, all_logits: bool = False) -> MemoryNeed:
        """What the model takes with a full cache.

        Args: all_logits: whether the logits of every position are computed and kept.
        """
        # Rows that see one another are read in one step.
        rows = min(self.config.n_batch, self.n_ctx) if self.model_config.causal else self.n_ctx
        all_rows = all_logits or self.gives_vectors
        outputs, kept = (rows, self.n_ctx) if all_rows else (1, 0)
        threads = max(self.threads.single, self.threads.batch)
        stand_ins = sum(weight.data.nbytes for weight in self._stand_ins.values())
        return MemoryNeed(
            weights=sum(info.n_bytes for info in self._file.tensors.values()) + stand_ins,
            cache=self.program.kv_bytes_per_cell(self.config.kv_type) * self.n_ctx,
            scratch=self.program.scratch_bytes(rows, outputs, threads, self.n_ctx),
            logits=(outputs + kept) * self.program.output_width * np.dtype(np.float32).itemsize,
        )

    def new_cache(self) -> _core.KvCache:
        """A cache of n_ctx cells; its pages are allocated as they are used."""
        return _core.KvCache(self.program, self.config.kv_type, self.n_ctx)

    def close(self) -> None:
        """Frees the program and unmaps the file. Calling it twice is harmless."""
        if self._bound is not None:
            self._bound.close()
        self._bound = None
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


class BoundGraph:
    """A graph, its program, and the adapters whose files it reads."""

    def __init__(self, graph: Graph, program: _core.Program, adapters: Adapters) -> None:
        """Owns program and adapters."""
        self.graph = graph
        self.program = program
        self._adapters = adapters

    def close(self) -> None:
        """Frees the program and unmaps the adapters."""
        del self.program
        self._adapters.close()


def _bind(path: str | os.PathLike[str], config: LoadConfig, stack: ExitStack) -> Model:
    """A model whose file `stack` closes."""
    file = stack.enter_context(GgufFile.open(Path(path)))
    tokenizer, model_config = read_model(file, config)
    return Model(file, tokenizer, model_config, _bind_graph(file, model_config, config), config)


def read_model(
    file: GgufFile, config: LoadConfig | None = None
) -> tuple[Tokenizer, TransformerConfig]:
    """The tokenizer and the config of a file, checked."""
    check_is_model(file)
    arch = architecture(file.get_str("general.architecture"), file.path)
    with _naming(file.path):
        model_config = _as_asked(arch.from_gguf(file), config or LoadConfig())
    return load_tokenizer(file, file.path), model_config


def read_graph(
    file: GgufFile,
    model_config: TransformerConfig,
    config: LoadConfig | None = None,
    adapters: Mapping[str, Sequence[LowRankPair]] | None = None,
) -> Graph:
    """The graph over a file's tensors, whose names and shapes it checks."""
    shapes = {info.name: info.shape for info in file.tensors.values()}
    if not shapes:
        raise FormatError(f"{file.path}: the file holds a vocabulary but no tensors")
    arch = architecture(file.get_str("general.architecture"), file.path)
    builder = GraphBuilder(shapes, source=str(file.path), adapters=adapters or {})
    graph = arch.build(model_config, builder)
    return graph.without_head() if config is not None and config.embedding else graph


def _bind_graph(
    file: GgufFile,
    model_config: TransformerConfig,
    config: LoadConfig,
    stand_ins: Mapping[str, StandIn] | None = None,
) -> BoundGraph:
    with ExitStack() as stack:
        adapters = open_adapters(file, config.loras)
        stack.callback(adapters.close)
        graph = read_graph(file, model_config, config, adapters.pairs)
        own = [(info.name, file, info) for info in file.tensors.values()]
        with _naming(file.path):
            rows = [_weight_row(*tensor) for tensor in (*own, *adapters.tensors)]
            rows = [_other_row(row, stand_ins or {}) for row in rows]
            isa = env.forced_isa() or ""
            program = _core.Program(graph.to_text(), rows, isa, config.observe or "")
        stack.pop_all()
        return BoundGraph(graph, program, adapters)


def _as_asked(model_config: TransformerConfig, config: LoadConfig) -> TransformerConfig:
    """The config for the context and the rotary positions that were asked for."""
    rope, n_ctx = model_config.rope, config.n_ctx or 0
    if rope is None and config.rope.is_choice:
        raise ConfigError("rope: this model has learned positions, which cannot be scaled")
    if rope is None and n_ctx > model_config.n_ctx_train:
        raise ConfigError(
            f"n_ctx: this model has {model_config.n_ctx_train} learned positions, found {n_ctx}"
        )
    if config.rope.kind == "adaptive" and model_config.local_rope is not None:
        raise ConfigError("rope adaptive: expected a model whose layers all turn alike")
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


WeightRow = tuple[str, str, int, int, memoryview, int]
"""Name, type, rows, columns, buffer and offset of a tensor, as `_core.Program` takes it."""


def _other_row(row: WeightRow, stand_ins: Mapping[str, StandIn]) -> WeightRow:
    """The row of what stands in for a tensor, its own where nothing does."""
    name, _, n_rows, n_cols, *_ = row
    found = stand_ins.get(name)
    return row if found is None else (name, found.type, n_rows, n_cols, found.data, 0)


def _weight_row(name: str, file: GgufFile, info: TensorInfo) -> WeightRow:
    """The row of a tensor in its mapping. Raises: UnsupportedError for integer tensors."""
    if info.type.name not in WEIGHT_TYPES:
        raise UnsupportedError(
            f"{file.path}: tensor {info.name!r}: type {info.type.name} cannot be a weight"
        )
    n_rows, mapping = prod(info.shape[:-1]), file.mappings[info.file_index]
    return name, info.type.name, n_rows, info.shape[-1], mapping, info.offset
