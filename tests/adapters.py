"""Tiny random adapters, as peft saves them and as GGUF files, written with NumPy only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import Arrays, config, weights, write_safetensors
from families import FAMILIES
from numpy.typing import NDArray

from pyllama_rt.formats.gguf import GgufWriter, ValueType
from pyllama_rt.formats.tensor_types import tensor_type
from pyllama_rt.models.registry import architecture_of_hf
from pyllama_rt.quant import quantize

PREFIX = "base_model.model."
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def adapter_config(**changes: Any) -> dict[str, Any]:
    """An adapter_config.json; None removes a key."""
    values = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "base",
        "r": 4,
        "lora_alpha": 10,
        "lora_dropout": 0.05,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": list(TARGETS),
        "modules_to_save": [],
        **changes,
    }
    return {key: value for key, value in values.items() if value is not None}


def pairs(
    values: Mapping[str, Any], rank: int = 4, targets: Sequence[str] = TARGETS, seed: int = 7
) -> Arrays:
    """A and B for every target of a model's config, under peft's names."""
    rng = np.random.default_rng(seed)
    arrays: Arrays = {}
    for name, base in weights(values).items():
        module = name.removesuffix(".weight")
        if module.rpartition(".")[2] in targets:
            rows, columns = base.shape
            a = rng.standard_normal((rank, columns), dtype=np.float32)
            b = rng.standard_normal((rows, rank), dtype=np.float32)
            arrays[f"{PREFIX}{module}.lora_A.weight"] = a / np.float32(8)
            arrays[f"{PREFIX}{module}.lora_B.weight"] = b / np.float32(8)
    return arrays


@dataclass
class Peft:
    """A peft directory in the making; change its parts, then `write`."""

    config: dict[str, Any] = field(default_factory=adapter_config)
    arrays: Arrays = field(default_factory=lambda: pairs(config()))
    dtype: str = "F32"
    files: dict[str, bytes] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        (folder / "adapter_config.json").write_text(json.dumps(self.config))
        write_safetensors(folder / "adapter_model.safetensors", self.arrays, self.dtype)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder


def add_products(base: Arrays, arrays: Arrays, scale: float) -> Arrays:
    """The base with every pair of `arrays` added in double precision."""
    merged = dict(base)
    for key, a in arrays.items():
        if key.endswith(".lora_A.weight"):
            module = key.removeprefix(PREFIX).removesuffix(".lora_A.weight")
            b = arrays[key.replace("lora_A", "lora_B")]
            product = scale * (b.astype(np.float64) @ a.astype(np.float64))
            merged[f"{module}.weight"] = (merged[f"{module}.weight"] + product).astype(np.float32)
    return merged


def family_adapter(name: str, before: Arrays) -> tuple[Peft, Arrays]:
    """Pairs for every matrix of the first layer of a family of models, but for one expert.

    Returns: the adapter, and the weights with its products added.
    """
    rng = np.random.default_rng(5)
    is_transposed = name == "gpt2"
    prefix = PREFIX + architecture_of_hf(FAMILIES[name]["architectures"]).hf_prefix
    lora = Peft(adapter_config(fan_in_fan_out=is_transposed), {})
    after = dict(before)
    for tensor, array in before.items():
        if array.ndim != 2 or ".0." not in tensor or ".experts.1." in tensor:
            continue
        n_out, n_in = array.shape[::-1] if is_transposed else array.shape
        a = rng.standard_normal((4, n_in), dtype=np.float32) / np.float32(8)
        b = rng.standard_normal((n_out, 4), dtype=np.float32) / np.float32(8)
        module = prefix + tensor.removesuffix(".weight")
        lora.arrays |= {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}
        product = np.float32(10 / 4) * (b @ a)
        after[tensor] = array + (product.T if is_transposed else product)
    return lora, after


def write_gguf_adapter(
    path: Path,
    tensors: Mapping[str, NDArray[np.float32]],
    *,
    alpha: float | None = 8.0,
    type_name: str = "f32",
    **changes: object,
) -> Path:
    """An adapter file. Args: changes: metadata by key with `__` for dots; None removes a key."""
    keys: dict[str, object] = {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    with GgufWriter(path) as writer:
        for key, value in keys.items():
            if value is not None:
                writer.add(key, value)
        if alpha is not None:
            writer.add("adapter.lora.alpha", alpha, ValueType.FLOAT32)
        for name, array in tensors.items():
            writer.declare(name, array.shape, tensor_type(type_name))
        for name, array in tensors.items():
            is_integer = type_name == "i32"
            data = array.astype("<i4") if is_integer else quantize(array, type_name)
            writer.write_tensor(name, data.tobytes())
    return path
