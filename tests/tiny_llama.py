"""A tiny random LLaMA as a GGUF file, and its weights as the NumPy twin takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from activation_format import activation_format
from numpy.typing import NDArray

from pyllama_rt.formats.gguf import GgufWriter
from pyllama_rt.formats.tensor_types import tensor_type
from pyllama_rt.graph.builder import Graph, GraphBuilder
from pyllama_rt.graph.reference import ReferenceWeight
from pyllama_rt.models import llama
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.gguf_config import config_keys
from pyllama_rt.models.rope import Rope
from pyllama_rt.quant import dequantize, quantize

PIECES = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁", *"abcdefghijklm"]
TYPES = [2, 3, 3, *([6] * 256), *([1] * 14)]


@dataclass(frozen=True)
class TinyLlama:
    """A written model. weights: float values by tensor name. path: the GGUF file."""

    config: TransformerConfig
    weights: dict[str, NDArray[np.float32]]
    type_name: str
    path: Path

    def graph(self) -> Graph:
        shapes = {name: w.shape for name, w in self.weights.items()}
        return llama.build(self.config, GraphBuilder(shapes))

    def reference_weights(self) -> dict[str, ReferenceWeight]:
        """What the quantised file holds, with the activation rounding that goes with it."""
        out = {}
        for name, values in self.weights.items():
            kind = tensor_type(self.type_name if values.ndim == 2 else "f32")
            stored = dequantize(quantize(values, kind.name), kind.name, values.shape)
            out[name] = ReferenceWeight(stored, activation_format(kind.name))
        return out


def tiny_config(dim: int = 256, n_layers: int = 2, head_dim: int = 64) -> TransformerConfig:
    return TransformerConfig(
        n_layers=n_layers,
        dim=dim,
        hidden_dim=(2 * dim,) * n_layers,
        n_heads=(4,) * n_layers,
        n_kv_heads=(2,) * n_layers,
        head_dim=head_dim,
        vocab_size=len(PIECES),
        n_ctx_train=2048,
        norm_eps=1e-5,
        rope=Rope(head_dim),
    )


def random_weights(
    cfg: TransformerConfig, *, biases: bool = False, tied: bool = False, seed: int = 0
) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    weights = {}
    for layer in range(cfg.n_layers):
        sizes = cfg.sizes(layer)
        for spec in llama.TENSORS:
            if spec.gguf.endswith(".bias") and not biases:
                continue
            if spec.gguf == "output.weight" and tied:
                continue
            shape = tuple(sizes[symbol] for symbol in spec.shape)
            values = rng.standard_normal(shape) / np.sqrt(shape[-1])
            if len(shape) == 1:
                values = 1 + 0.1 * rng.standard_normal(shape)
            weights[spec.gguf.format(i=layer)] = values.astype(np.float32)
    return weights


def write_tiny_llama(
    path: Path,
    type_name: str = "f32",
    *,
    config: TransformerConfig | None = None,
    biases: bool = False,
    tied: bool = False,
    seed: int = 0,
    more_keys: Mapping[str, object] | None = None,
    rope_freqs: bool = False,
) -> TinyLlama:
    """Writes the model with its matrices as `type_name`.

    Args: more_keys: metadata beside the config's. rope_freqs: divisors of the rotary frequencies.
    """
    cfg = config or tiny_config()
    weights = random_weights(cfg, biases=biases, tied=tied, seed=seed)
    if rope_freqs:
        weights["rope_freqs.weight"] = np.linspace(1, 8, cfg.head_dim // 2, dtype=np.float32)
    with GgufWriter(path) as writer:
        writer.add("general.architecture", "llama")
        for key, value in {**config_keys(cfg, "llama"), **(more_keys or {})}.items():
            writer.add(key, value)
        writer.add("tokenizer.ggml.model", "llama")
        writer.add("tokenizer.ggml.tokens", PIECES)
        writer.add("tokenizer.ggml.scores", np.zeros(len(PIECES), np.float32))
        writer.add("tokenizer.ggml.token_type", np.array(TYPES, np.int32))
        writer.add("tokenizer.ggml.bos_token_id", 1)
        writer.add("tokenizer.ggml.eos_token_id", 2)
        kinds = {n: type_name if w.ndim == 2 else "f32" for n, w in weights.items()}
        for name, values in weights.items():
            writer.declare(name, values.shape, tensor_type(kinds[name]))
        for name, values in weights.items():
            writer.write_tensor(name, quantize(values, kinds[name]).tobytes())
    return TinyLlama(cfg, weights, type_name, path)
