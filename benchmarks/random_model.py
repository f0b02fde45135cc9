"""Writes a LLaMA of given sizes with random weights, quantised to any mix: a model to time.

usage: python benchmarks/random_model.py OUT.gguf MIX
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.errors import PyllamaRtError
from pyllama_rt.formats.gguf import GgufWriter
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, TensorType
from pyllama_rt.models import llama
from pyllama_rt.quant import quantize
from pyllama_rt.quant.mixes import ModelTraits, find_mix
from pyllama_rt.quant.plan import PlannedTensor, make_plan

SHAPE_1B = llama.LlamaConfig(
    n_layers=22,
    dim=2048,
    hidden_dim=(5632,) * 22,
    n_heads=(32,) * 22,
    n_kv_heads=(4,) * 22,
    head_dim=64,
    vocab_size=32000,
    n_ctx_train=16384,
    rms_norm_eps=1e-5,
    rope_dims=64,
)
"""The 1.1 B shape of TinyLlama."""


class _Wanted:
    """A tensor as `make_plan` takes it."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name = name
        self.shape = shape
        self.type: TensorType = TENSOR_TYPES["f32"]


def _wanted(cfg: llama.LlamaConfig) -> list[_Wanted]:
    found = {}
    for layer in range(cfg.n_layers):
        sizes = llama.dims(cfg, layer)
        for spec in llama.TENSORS:
            if not spec.gguf.endswith(".bias"):
                shape = tuple(sizes[symbol] for symbol in spec.shape)
                found[spec.gguf.format(i=layer)] = shape
    return [_Wanted(name, shape) for name, shape in found.items()]


def _add_vocabulary(writer: GgufWriter, n: int) -> None:
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    types = [2, 3, 3, *([6] * 256)]
    pieces += [f"▁w{i}" for i in range(len(pieces), n)]
    types += [1] * (n - len(types))
    writer.add("tokenizer.ggml.model", "llama")
    writer.add("tokenizer.ggml.tokens", pieces)
    writer.add("tokenizer.ggml.scores", -np.arange(n, dtype=np.float32))
    writer.add("tokenizer.ggml.token_type", np.array(types, np.int32))
    writer.add("tokenizer.ggml.bos_token_id", 1)
    writer.add("tokenizer.ggml.eos_token_id", 2)


def _blocks(tensor: PlannedTensor, rng: np.random.Generator) -> NDArray[np.uint8]:
    if len(tensor.shape) == 1:
        return quantize(np.ones(tensor.shape, np.float32), tensor.type.name)
    values = rng.standard_normal(tensor.shape, dtype=np.float32) / np.sqrt(tensor.shape[-1])
    return quantize(values.astype(np.float32), tensor.type.name)


def write_random_llama(path: Path, mix_name: str, cfg: llama.LlamaConfig = SHAPE_1B) -> None:
    """Writes the file; layers of one shape and type share their random numbers."""
    rng = np.random.default_rng(0)
    mix, wanted = find_mix(mix_name), _wanted(cfg)
    keys = {"general.architecture": "llama", **llama.metadata(cfg)}
    plan = make_plan(mix, ModelTraits.of(keys, (w.name for w in wanted)), wanted)
    made: dict[tuple[tuple[int, ...], str], NDArray[np.uint8]] = {}
    with GgufWriter(path) as writer:
        for key, value in keys.items():
            writer.add(key, value)
        _add_vocabulary(writer, cfg.vocab_size)
        for tensor in plan.tensors:
            writer.declare(tensor.name, tensor.shape, tensor.type)
        for tensor in plan.tensors:
            kind = (tensor.shape, tensor.type.name)
            if kind not in made:
                made[kind] = _blocks(tensor, rng)
            writer.write_tensor(tensor.name, made[kind].tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit((__doc__ or "").strip().splitlines()[-1])
    try:
        write_random_llama(Path(sys.argv[1]), sys.argv[2])
    except PyllamaRtError as error:
        sys.exit(f"error: {error}")
