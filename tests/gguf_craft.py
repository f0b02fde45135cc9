"""GGUF files put together field by field, so that any field can be wrong.

Independent of `GgufWriter` on purpose: it shares no code with what it tests.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32 = range(7)
BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = range(7, 13)
CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
F32, F16, Q8_0, Q4_K = 0, 1, 8, 12

Fields = list[bytes]


def u32(value: int) -> bytes:
    return struct.pack("<I", value & 0xFFFFFFFF)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF)


def number(kind: int, value: float) -> Fields:
    """Type and value of a scalar."""
    return [u32(kind), struct.pack("<" + CODES[kind], value)]


def text(value: str | bytes) -> Fields:
    raw = value.encode() if isinstance(value, str) else value
    return [u32(STRING), u64(len(raw)), raw]


def numbers(kind: int, values: Sequence[float], count: int | None = None) -> Fields:
    """An array; `count` replaces its true length."""
    raw = struct.pack(f"<{len(values)}{CODES[kind]}", *values)
    return [u32(ARRAY), u32(kind), u64(len(values) if count is None else count), raw]


def texts(values: Sequence[str | bytes], count: int | None = None) -> Fields:
    fields = [u32(ARRAY), u32(STRING), u64(len(values) if count is None else count)]
    for value in values:
        fields += text(value)[1:]
    return fields


@dataclass
class Tensor:
    """A row of the directory and its data; `offset` None means the next aligned place."""

    name: str | bytes
    dims: list[int]  # in the order of the file, innermost first
    data: bytes
    type: int = F32
    offset: int | None = None
    n_dims: int | None = None

    @classmethod
    def f32(cls, name: str, array: NDArray[np.float32]) -> Tensor:
        return cls(name, list(reversed(array.shape)), array.astype("<f4").tobytes())


@dataclass
class Craft:
    """A file under construction; counts that are None are the true ones."""

    keys: dict[str | bytes, Fields] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    magic: bytes = b"GGUF"
    version: bytes = b"\3\0\0\0"
    n_tensors: int | None = None
    n_keys: int | None = None
    alignment: int = 32
    more_keys: Fields = field(default_factory=list)  # raw fields after the last key

    def tensor(self, name: str) -> Tensor:
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def head(self) -> Fields:
        """Header, metadata and directory, one item per field."""
        n_tensors = len(self.tensors) if self.n_tensors is None else self.n_tensors
        n_keys = len(self.keys) if self.n_keys is None else self.n_keys
        fields = [self.magic, self.version, u64(n_tensors), u64(n_keys)]
        for key, value in self.keys.items():
            fields += text(key)[1:] + value
        fields += self.more_keys
        offset = 0
        for tensor in self.tensors:
            n_dims = len(tensor.dims) if tensor.n_dims is None else tensor.n_dims
            fields += [*text(tensor.name)[1:], u32(n_dims), *map(u64, tensor.dims)]
            fields += [u32(tensor.type), u64(offset if tensor.offset is None else tensor.offset)]
            offset += len(tensor.data) + -len(tensor.data) % self.alignment
        return fields

    def build(self) -> bytes:
        """The file; the last tensor is not padded, so that its last byte is the file's."""
        out = bytearray().join(self.head())
        for tensor in self.tensors:
            out += bytes(-len(out) % self.alignment) + tensor.data
        return bytes(out)


# The smallest LLaMA that really loads: one layer, a SentencePiece vocabulary with all byte pieces.
DIM, HIDDEN, HEADS, KV_HEADS, LAYERS, CONTEXT = 32, 64, 2, 1, 1, 64
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
PIECES = ["▁", "a", "b", "c", "▁a", "ab", "▁ab", "abc", "▁abc", "e", "t", "▁t", "te"]
TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *PIECES]
TYPES = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(PIECES)
SCORES = [0.0] * 259 + [-float(rank) for rank in range(len(PIECES))]


def tiny_llama(n_vocab: int = len(TOKENS)) -> Craft:
    """A valid one-layer model in F32 with seeded weights and the first `n_vocab` pieces."""
    random = np.random.default_rng(1)

    def weight(name: str, *shape: int) -> Tensor:
        values = random.standard_normal(shape, dtype=np.float32) / np.float32(shape[-1] ** 0.5)
        return Tensor.f32(name + ".weight", values)

    def norm(name: str) -> Tensor:
        return Tensor.f32(name + ".weight", np.ones(DIM, np.float32))

    kv_dim = DIM // HEADS * KV_HEADS
    return Craft(
        keys=llama_keys(n_vocab),
        tensors=[
            weight("token_embd", n_vocab, DIM),
            norm("output_norm"),
            weight("output", n_vocab, DIM),
            norm("blk.0.attn_norm"),
            weight("blk.0.attn_q", DIM, DIM),
            weight("blk.0.attn_k", kv_dim, DIM),
            weight("blk.0.attn_v", kv_dim, DIM),
            weight("blk.0.attn_output", DIM, DIM),
            norm("blk.0.ffn_norm"),
            weight("blk.0.ffn_gate", HIDDEN, DIM),
            weight("blk.0.ffn_up", HIDDEN, DIM),
            weight("blk.0.ffn_down", DIM, HIDDEN),
        ],
    )


def llama_keys(n_vocab: int) -> dict[str | bytes, Fields]:
    return {
        "general.architecture": text("llama"),
        "general.name": text("tiny"),
        "llama.context_length": number(UINT32, CONTEXT),
        "llama.embedding_length": number(UINT32, DIM),
        "llama.block_count": number(UINT32, LAYERS),
        "llama.feed_forward_length": number(UINT32, HIDDEN),
        "llama.attention.head_count": number(UINT32, HEADS),
        "llama.attention.head_count_kv": number(UINT32, KV_HEADS),
        "llama.attention.layer_norm_rms_epsilon": number(FLOAT32, 1e-5),
        "llama.rope.dimension_count": number(UINT32, DIM // HEADS),
        "llama.rope.freq_base": number(FLOAT32, 10000.0),
        "llama.vocab_size": number(UINT32, n_vocab),
        "tokenizer.ggml.model": text("llama"),
        "tokenizer.ggml.tokens": texts(TOKENS[:n_vocab]),
        "tokenizer.ggml.scores": numbers(FLOAT32, SCORES[:n_vocab]),
        "tokenizer.ggml.token_type": numbers(INT32, TYPES[:n_vocab]),
        "tokenizer.ggml.bos_token_id": number(UINT32, 1),
        "tokenizer.ggml.eos_token_id": number(UINT32, 2),
        "tokenizer.ggml.unknown_token_id": number(UINT32, 0),
    }


def all_types() -> Craft:
    """A small valid file with a value of every type, arrays included, and three tensors."""
    keys: dict[str | bytes, Fields] = {"general.architecture": text("none"), "s": text("x ü 字")}
    for kind in CODES:
        keys[f"n{kind}"] = number(kind, 1)
        keys[f"a{kind}"] = numbers(kind, [0, 1, 1])
    keys["empty"] = numbers(INT32, [])
    keys["words"] = texts(["", "one", "zwei", "三"])
    return Craft(
        keys,
        [
            Tensor.f32("first", np.arange(6, dtype=np.float32).reshape(2, 3)),
            Tensor("second", [32, 2], bytes(range(68)), Q8_0),
            Tensor("third", [3, 1, 1, 2], bytes(12), F16),
        ],
    )
