"""Tiny checkpoints in Meta's layout, made from the Hugging Face ones of checkpoints.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import Arrays, HuggingFace, sentencepiece
from torch_files import write_torch

from pyllama_rt.convert.transforms import interleave
from pyllama_rt.tokenizer.model_proto import SentencePieceModel, write_model_proto

NAMES = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "tok_embeddings",
    "model.norm": "norm",
    "lm_head": "output",
    "model.": "",
}
COLUMNS = ("tok_embeddings", "attention.wo", "feed_forward.w2")


def params_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The params.json that says what a config.json says."""
    return {
        "dim": config["hidden_size"],
        "n_layers": config["num_hidden_layers"],
        "n_heads": config["num_attention_heads"],
        "n_kv_heads": config["num_key_value_heads"],
        "multiple_of": 256,
        "ffn_dim_multiplier": 1.3,
        "norm_eps": config["rms_norm_eps"],
        "rope_theta": config["rope_theta"],
        "max_seq_len": config["max_position_embeddings"],
        "vocab_size": -1,
    }


def meta_name(name: str) -> str:
    """Meta's name of a tensor."""
    for old, new in NAMES.items():
        name = name.replace(old, new)
    return name


def meta_arrays(source: HuggingFace) -> Arrays:
    """The same weights under Meta's names, queries and keys in its order."""
    heads = {
        "q_proj": source.config["num_attention_heads"],
        "k_proj": source.config["num_key_value_heads"],
    }
    arrays = {}
    for name, found in source.arrays.items():
        role = name.split(".")[-2]
        is_turned = role in heads
        array = found[interleave(len(found), heads[role])] if is_turned else found
        arrays[meta_name(name)] = array
    return arrays


def is_in_columns(name: str) -> bool:
    """Whether a shard holds columns of all rows."""
    return any(part in name for part in COLUMNS)


def half(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what either of two shards holds."""
    if len(shape) == 1:
        return shape
    rows, columns = shape
    return (rows, columns // 2) if is_in_columns(name) else (rows // 2, columns)


@dataclass
class Meta:
    """A directory in the making; change its parts, then `write`."""

    source: HuggingFace = field(default_factory=HuggingFace)
    params: dict[str, Any] = field(default_factory=dict)
    shards: list[Arrays] = field(default_factory=list)
    n_shards: int = 1
    embedding_rows: bool = False  # as LLaMA 3 splits it
    tokenizer: SentencePieceModel | bytes = field(default_factory=sentencepiece)

    def __post_init__(self) -> None:
        self.params = params_of(self.source.config)
        self.shards = [{} for _ in range(self.n_shards)]
        for name, array in meta_arrays(self.source).items():
            in_columns = is_in_columns(name)
            if name.startswith("tok_embeddings") and self.embedding_rows:
                in_columns = False
            if array.ndim == 1:
                pieces = [array] * self.n_shards
            else:  # the last piece takes what is left over
                axis = 1 if in_columns else 0
                step = array.shape[axis] // self.n_shards
                pieces = np.split(array, [step * i for i in range(1, self.n_shards)], axis)
            for shard, piece in zip(self.shards, pieces, strict=True):
                shard[name] = np.ascontiguousarray(piece)
        for shard in self.shards:
            shard["rope.freqs"] = np.ones(4, np.float32)

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "params.json").write_text(json.dumps(self.params))
        raw = self.tokenizer
        data = raw if isinstance(raw, bytes) else write_model_proto(raw)
        (folder / "tokenizer.model").write_bytes(data)
        for i, arrays in enumerate(self.shards):
            write_torch(folder / f"consolidated.{i:02d}.pth", arrays, self.source.dtype)
        return folder
