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
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.gguf_config import config_keys
from pyllama_rt.models.rope import Rope
from pyllama_rt.quant import quantize
from pyllama_rt.quant.mixes import ModelTraits, find_mix
from pyllama_rt.quant.plan import PlannedTensor, make_plan

SHAPE_1B = TransformerConfig(
    n_layers=22,
    dim=2048,
    hidden_dim=(5632,) * 22,
    n_heads=(32,) * 22,
    n_kv_heads=(4,) * 22,
    head_dim=64,
    vocab_size=32000,
    n_ctx_train=16384,
    norm_eps=1e-5,
    rope=Rope(64),
)
"""The 1.1 B shape of TinyLlama."""


class _Wanted:
    """A tensor as `make_plan` takes it."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name = name
        self.shape = shape
        self.type: TensorType = TENSOR_TYPES["f32"]


def tensor_shapes(cfg: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the model, without biases."""
    found = {}
    for layer in range(cfg.n_layers):
        sizes = cfg.sizes(layer)
        for spec in llama.TENSORS:
            if not spec.gguf.endswith(".bias"):
                shape = tuple(sizes[symbol] for symbol in spec.shape)
                found[spec.gguf.format(i=layer)] = shape
    return found


def metadata(cfg: TransformerConfig) -> dict[str, object]:
    """Every key of the file, with a vocabulary of made-up words."""
    n = cfg.vocab_size
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    types = [2, 3, 3, *([6] * 256)]
    pieces += [f"▁w{i}" for i in range(len(pieces), n)]
    types += [1] * (n - len(types))
    return {
        "general.architecture": "llama",
        **config_keys(cfg, "llama"),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": -np.arange(n, dtype=np.float32),
        "tokenizer.ggml.token_type": np.array(types, np.int32),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }


def _blocks(tensor: PlannedTensor, rng: np.random.Generator) -> NDArray[np.uint8]:
    if len(tensor.shape) == 1:
        return quantize(np.ones(tensor.shape, np.float32), tensor.type.name)
    values = rng.standard_normal(tensor.shape, dtype=np.float32) / np.sqrt(tensor.shape[-1])
    return quantize(values.astype(np.float32), tensor.type.name)


def write_random_llama(path: Path, mix_name: str, cfg: TransformerConfig = SHAPE_1B) -> None:
    """Writes the file; layers of one shape and type share their random numbers."""
    rng = np.random.default_rng(0)
    mix, keys = find_mix(mix_name), metadata(cfg)
    wanted = [_Wanted(name, shape) for name, shape in tensor_shapes(cfg).items()]
    plan = make_plan(mix, ModelTraits.of(keys, (w.name for w in wanted)), wanted)
    made: dict[tuple[tuple[int, ...], str], NDArray[np.uint8]] = {}
    with GgufWriter(path) as writer:
        for key, value in keys.items():
            writer.add(key, value)
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
