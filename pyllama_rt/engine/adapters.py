"""LoRA adapters beside a model's own weights, while it runs.

Source: arXiv:2106.09685, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from pyllama_rt.config import LoraConfig
from pyllama_rt.errors import ConfigError, UnsupportedError, shown
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.formats.gguf_adapter import AdapterPair, GgufAdapter, is_norm, norms_digest
from pyllama_rt.formats.gguf_types import TensorInfo
from pyllama_rt.graph.builder import LowRankPair
from pyllama_rt.quant import dequantize


@dataclass(frozen=True)
class Adapters:
    """Open adapters that fit a model, in the order in which they are added.

    pairs: by the name of the weight that they change. tensors: name in the graph, file and entry of
    every matrix.
    """

    stack: ExitStack
    pairs: dict[str, list[LowRankPair]]
    tensors: list[tuple[str, GgufFile, TensorInfo]]

    def close(self) -> None:
        """Unmaps the files."""
        self.stack.close()


def open_adapters(base: GgufFile, wanted: Sequence[LoraConfig]) -> Adapters:
    """Opens adapters and checks them against their base.

    Raises: ConfigError for one that cannot be opened or is named twice; FormatError for one that is
        broken or belongs to another base; UnsupportedError for one that changes experts.
    """
    with ExitStack() as stack:
        found = Adapters(stack, {}, [])
        files: set[str] = set()
        for number, choice in enumerate(wanted):
            adapter = stack.enter_context(GgufAdapter.open(choice.path))
            if str(adapter.path.resolve()) in files:
                raise ConfigError(f"{adapter.path}: this adapter is named twice; name it once")
            files.add(str(adapter.path.resolve()))
            _check(adapter, base)
            for pair in adapter.pairs.values():
                _add(found, adapter, pair, number, choice.scale)
        return Adapters(stack.pop_all(), found.pairs, found.tensors)


def _check(adapter: GgufAdapter, base: GgufFile) -> None:
    shapes = {info.name: info.shape for info in base.tensors.values()}
    norms = None if adapter.base_norms is None else norms_digest(_norms(base))
    architecture = base.get_str("general.architecture")
    adapter.check_base(base.path, architecture, shapes, norms)
    for pair in adapter.pairs.values():
        if len(pair.shape) != 2:
            raise UnsupportedError(
                f"{adapter.path}: it changes the experts {shown(pair.name)}, which only "
                "pyllama-rt merge-lora can do"
            )


def _norms(base: GgufFile) -> Iterable[tuple[str, bytes]]:
    for info in base.tensors.values():
        if is_norm(info.name, info.shape):
            data = base.tensor_data(info.name)
            yield info.name, dequantize(data, info.type.name, info.shape).tobytes()


def _add(
    found: Adapters, adapter: GgufAdapter, pair: AdapterPair, number: int, scale: float
) -> None:
    """An embedding looks its rows up in the left matrix; other weights meet the right one first."""
    first, second = pair.right, pair.left
    if pair.right_transposed:
        first, second = second, first
    names = [f"adapter.{number}.{info.name}" for info in (first, second)]
    rank = pair.left.shape[-1]
    low_rank = LowRankPair(names[0], names[1], rank, pair.scale * scale)
    found.pairs.setdefault(pair.name, []).append(low_rank)
    for name, info in zip(names, (first, second), strict=True):
        found.tensors.append((name, adapter.file, info))
