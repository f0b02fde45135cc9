"""Tiny random checkpoints, written with NumPy and the standard library only."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.tokenizer.model_proto import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    SentencePieceModel,
    write_model_proto,
)

Arrays = dict[str, NDArray[np.float32]]
WriteWeights = Callable[[Path, Arrays, str], None]
"""`write_safetensors`, or `write_torch` of torch_files.py, which imports this module."""

LETTERS = "▁abcdefghijklm"
N_PIECES = 3 + 256 + len(LETTERS)


def config(**changes: Any) -> dict[str, Any]:
    """A config.json of two layers with grouped queries; None removes a key."""
    values = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": N_PIECES,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        **changes,
    }
    return {key: value for key, value in values.items() if value is not None}


def weights(values: Mapping[str, Any], *, biases: bool = False, seed: int = 0) -> Arrays:
    """Every tensor that a config promises, under its Hugging Face name."""
    rng = np.random.default_rng(seed)
    dim, hidden = values["hidden_size"], values["intermediate_size"]
    head = values.get("head_dim", dim // values["num_attention_heads"])
    q, kv = values["num_attention_heads"] * head, values["num_key_value_heads"] * head
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (values["vocab_size"], dim),
        "model.norm.weight": (dim,),
        "lm_head.weight": (values["vocab_size"], dim),
    }
    for i in range(values["num_hidden_layers"]):
        prefix = f"model.layers.{i}."
        matrices = {
            "self_attn.q_proj": (q, dim),
            "self_attn.k_proj": (kv, dim),
            "self_attn.v_proj": (kv, dim),
            "self_attn.o_proj": (dim, q),
            "mlp.gate_proj": (hidden, dim),
            "mlp.up_proj": (hidden, dim),
            "mlp.down_proj": (dim, hidden),
        }
        for name, shape in matrices.items():
            shapes[f"{prefix}{name}.weight"] = shape
            if biases:
                shapes[f"{prefix}{name}.bias"] = shape[:1]
        shapes[f"{prefix}input_layernorm.weight"] = (dim,)
        shapes[f"{prefix}post_attention_layernorm.weight"] = (dim,)
    return {
        name: rng.standard_normal(shape, dtype=np.float32).astype(np.float16).astype(np.float32)
        for name, shape in shapes.items()
    }


def encoded(array: NDArray[np.float32], dtype: str) -> bytes:
    """An array as the bytes of a safetensors dtype (bf16 by truncation)."""
    if dtype == "BF16":
        return (np.ascontiguousarray(array).view(np.uint32) >> 16).astype("<u2").tobytes()
    return array.astype({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[dtype]).tobytes()


def write_safetensors(path: Path, arrays: Arrays, dtype: str = "F16") -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name, array in arrays.items():
        raw = encoded(array, dtype)
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def sentencepiece(extra: Sequence[tuple[str, int]] = ()) -> SentencePieceModel:
    """A vocabulary of bytes and letters."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *LETTERS]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(LETTERS)]
    scores = [0.0] * 259 + [-float(i) for i in range(len(LETTERS))]
    return SentencePieceModel(
        pieces=[*pieces, *(piece for piece, _ in extra)],
        scores=[*scores, *(0.0 for _ in extra)],
        types=[*types, *(kind for _, kind in extra)],
        bos_id=1,
        eos_id=2,
    )


@dataclass
class HuggingFace:
    """A Hugging Face directory in the making; change its parts, then `write`."""

    config: dict[str, Any] = field(default_factory=config)
    arrays: Arrays = field(default_factory=dict)
    dtype: str = "F16"
    tokenizer: SentencePieceModel | None = field(default_factory=sentencepiece)
    files: dict[str, Any] = field(default_factory=dict)  # further JSON files, or text

    def __post_init__(self) -> None:
        if not self.arrays:
            self.arrays = weights(self.config)

    def write(
        self, folder: Path, n_shards: int = 1, write_weights: WriteWeights = write_safetensors
    ) -> Path:
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config))
        if self.tokenizer is not None:
            (folder / "tokenizer.model").write_bytes(write_model_proto(self.tokenizer))
        stem, suffix = ("model", "safetensors")
        if write_weights is not write_safetensors:
            stem, suffix = ("pytorch_model", "bin")
        if n_shards == 1:
            write_weights(folder / f"{stem}.{suffix}", self.arrays, self.dtype)
        else:
            self._write_shards(folder, n_shards, stem, suffix, write_weights)
        for name, content in self.files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    def _write_shards(
        self, folder: Path, n_shards: int, stem: str, suffix: str, write_weights: WriteWeights
    ) -> None:
        names = list(self.arrays)
        weight_map = {}
        for i in range(n_shards):
            file = f"{stem}-{i + 1:05d}-of-{n_shards:05d}.{suffix}"
            part = {name: self.arrays[name] for name in names[i::n_shards]}
            write_weights(folder / file, part, self.dtype)
            weight_map.update(dict.fromkeys(part, file))
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))


LLAMA2C_HEADER = (16, 24, 2, 4, 2, N_PIECES, 32)
"""dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len"""


def llama2c_arrays(header: Sequence[int] = LLAMA2C_HEADER) -> list[tuple[str, NDArray[np.float32]]]:
    """Tensors under their GGUF names ("" for tables that are skipped), in the order of the file."""
    dim, hidden, n, heads, kv_heads, vocab, n_ctx = header
    rng = np.random.default_rng(1)
    head = dim // heads
    layers = {
        "attn_norm": (dim,),
        "attn_q": (dim, dim),
        "attn_k": (kv_heads * head, dim),
        "attn_v": (kv_heads * head, dim),
        "attn_output": (dim, dim),
        "ffn_norm": (dim,),
        "ffn_gate": (hidden, dim),
        "ffn_down": (dim, hidden),
        "ffn_up": (hidden, dim),
    }
    rows: list[tuple[str, tuple[int, ...]]] = [("token_embd.weight", (abs(vocab), dim))]
    for role, shape in layers.items():
        rows += [(f"blk.{i}.{role}.weight", shape) for i in range(n)]
    rows += [("output_norm.weight", (dim,)), *[("", (n_ctx, head // 2))] * 2]
    if vocab < 0:
        rows.append(("output.weight", (abs(vocab), dim)))
    return [(name, rng.standard_normal(shape, dtype=np.float32)) for name, shape in rows]


def write_llama2c(path: Path, header: Sequence[int] = LLAMA2C_HEADER) -> Arrays:
    """A llama2.c file with its tokenizer beside it; returns the tensors that GGUF keeps."""
    arrays = llama2c_arrays(header)
    raw = b"".join(array.tobytes() for _, array in arrays)
    path.write_bytes(struct.pack("<7i", *header) + raw)
    write_llama2c_tokenizer(path.with_name(f"tok{abs(header[5])}.bin"))
    return {name: array for name, array in arrays if name}


def write_llama2c_tokenizer(path: Path) -> None:
    model = sentencepiece()
    out = struct.pack("<i", 8)
    for i, (piece, score) in enumerate(zip(model.pieces, model.scores, strict=True)):
        text = f"\n{piece}\n" if i in (1, 2) else piece.replace("▁", " ")
        out += struct.pack("<fi", score, len(text.encode())) + text.encode()
    path.write_bytes(out)
