"""The catalogue of bad GGUF files, by number: case 1 to 44 and 48 as functions that give bytes.

Cases 1 to 30 break the format and are the reader's to refuse. Cases 31 to 44 are well-formed files
that no model can be loaded from (or only with care): they start from `tiny_llama` and are for the
tests of models, tokenizers and engine. Cases 45 to 47 need a file system and are built where they
are tested.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from gguf_craft import (
    ARRAY,
    BOOL,
    DIM,
    FLOAT32,
    HIDDEN,
    INT8,
    INT32,
    Q8_0,
    STRING,
    TOKENS,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    Craft,
    Fields,
    Tensor,
    number,
    numbers,
    text,
    texts,
    tiny_llama,
    u32,
    u64,
)

Builder = Callable[[], bytes]
CASES: dict[str, Builder] = {}
"""Every case: two-digit catalogue number, then what is wrong."""

TOP = 1 << 63
ALIGNMENT = "general.alignment"


def _add(name: str, builder: Builder) -> None:
    assert name not in CASES
    CASES[name] = builder


def _file(name: str, change: Callable[[Craft], object]) -> None:
    """A case made by changing the tiny model."""

    def build() -> bytes:
        craft = tiny_llama()
        change(craft)
        return craft.build()

    _add(name, build)


def _key(name: str, key: str | bytes, value: Fields) -> None:
    """A case made by setting one key of the tiny model."""
    _file(name, lambda craft: craft.keys.update({key: value}))


def _metadata_only(name: str, keys: dict[str | bytes, Fields], cut: int = 0) -> None:
    """A case without tensors, whose last `cut` bytes are missing."""
    _add(name, lambda: (data := Craft(keys).build())[: len(data) - cut])


def _one_tensor(name: str, tensor: Tensor) -> None:
    """A case that is one tensor."""
    _add(name, Craft(tensors=[tensor]).build)


def _header(name: str, **values: object) -> None:
    """A case made by setting attributes of the tiny model's `Craft`."""
    _add(name, lambda: replace(tiny_llama(), **values).build())  # type: ignore[arg-type]


def _tensor(name: str, tensor: str, **values: object) -> None:
    """A case made by setting attributes of one tensor of the tiny model."""

    def build() -> bytes:
        craft = tiny_llama()
        index = craft.tensors.index(craft.tensor(tensor))
        craft.tensors[index] = replace(craft.tensors[index], **values)  # type: ignore[arg-type]
        return craft.build()

    _add(name, build)


def _first(n_bytes: int) -> Builder:
    return lambda: tiny_llama().build()[:n_bytes]


def _header_cases() -> None:
    _add("01-empty", bytes)
    for n_bytes in range(1, 24):
        _add(f"02-first-{n_bytes:02d}-bytes", _first(n_bytes))
    _header("03-magic", magic=b"GGUG")
    for version in (0, 1, 4):
        _header(f"04-version-{version}", version=u32(version))
    _header("05-big-endian", version=struct.pack(">I", 3))
    for label, count in (("2^63", TOP), ("minus-1", -1)):
        _header(f"06-tensors-{label}", n_tensors=count)
        _header(f"07-keys-{label}", n_keys=count)
    valid = tiny_llama()
    _header("08-tensors-beyond-file", n_tensors=10_000)
    _header("08-keys-beyond-file", n_keys=1_000_000)
    _header("08-tensors-one-more", n_tensors=len(valid.tensors) + 1)
    _header("08-keys-one-more", n_keys=len(valid.keys) + 1)


def _metadata_cases() -> None:
    n_keys = len(tiny_llama().keys) + 1
    long_key = [u64(-1), b"key", *number(UINT8, 1)]
    _header("09-key-length-2^64-1", n_keys=n_keys, more_keys=long_key)
    _key("10-empty-key", "", number(UINT8, 1))
    again = [*text("general.name")[1:], *text("again")]
    _header("11-duplicate-key", n_keys=n_keys, more_keys=again)
    _key("12-key-with-nul", "a\0b", number(UINT8, 1))
    _key("12-key-with-c1", "a\x9b31m", number(UINT8, 1))
    _key("12-key-with-bidi", "a\u202eb", number(UINT8, 1))
    _key("12-key-not-utf8", b"a\xff", number(UINT8, 1))
    for kind in (13, -1):
        _key(f"13-value-type-{kind}", "k", [u32(kind), bytes(8)])
        _key(f"13-element-type-{kind}", "k", [u32(ARRAY), u32(kind), u64(1), bytes(8)])
    for label, n_bytes in (("one-past-end", 4), ("2^64-1", -1), ("2^63", TOP)):
        _metadata_only(f"14-string-{label}", {"k": [u32(STRING), u64(n_bytes), b"abc"]})
    for kind, count in ((UINT64, 1 << 61), (UINT32, 1 << 62), (UINT16, TOP), (STRING, 1 << 61)):
        _key(f"15-array-of-type-{kind}-wraps", "k", [u32(ARRAY), u32(kind), u64(count), bytes(8)])
    for depth in (1, 100_000):
        level = u32(ARRAY) + u64(1)
        _key(f"16-nested-{depth}", "k", [u32(ARRAY), level * depth, *numbers(UINT8, [1])[1:]])
    _metadata_only("17-last-string-cut", {"k": texts(["one", "two"])}, cut=1)
    _metadata_only("17-last-string-missing", {"k": texts(["one", "two"])}, cut=11)
    _metadata_only("17-first-string-huge", {"k": [*texts([], 3), u64(-8), bytes(99)]})
    _key("18-bool-2", "k", number(BOOL, 2))
    _key("18-bool-2-in-array", "k", numbers(BOOL, [0, 1, 2]))
    for value in (0, 3, 4, 48, 1 << 31):
        _key(f"19-alignment-{value}", ALIGNMENT, number(UINT32, value))
    _key("19-alignment-uint64", ALIGNMENT, number(UINT64, 32))
    _key("19-alignment-int32", ALIGNMENT, number(INT32, 32))
    _key("19-alignment-text", ALIGNMENT, text("32"))


def _directory_cases() -> None:
    row = bytes(4 * DIM)
    _one_tensor("20-name-64-bytes", Tensor("x" * 64, [DIM], row))
    _one_tensor("20-name-empty", Tensor("", [DIM], row))
    _one_tensor("20-name-with-nul", Tensor("a\0", [DIM], row))
    _file("20-name-duplicate", lambda craft: craft.tensors.append(craft.tensors[1]))
    for n_dims in (0, 5, -1):
        _one_tensor(f"21-dims-{n_dims}", Tensor("t", [8, 1, 1, 1, 1], row, n_dims=n_dims))
    _one_tensor("22-dim-0", Tensor("t", [DIM, 0], row))
    _one_tensor("22-dim-minus-1", Tensor("t", [DIM, -1], row))
    _one_tensor("23-elements-wrap-to-0", Tensor("t", [1 << 32, 1 << 32], row))
    _one_tensor("23-elements-wrap-to-32", Tensor("t", [(1 << 59) + 1, 32], row))
    _one_tensor("24-size-wraps", Tensor("t", [(1 << 62) + 8], row))
    _one_tensor("24-padded-size-wraps", Tensor("t", [(1 << 62) - 1], row))
    for type_id in (-1, 4, 31, 42, 1 << 31):
        _one_tensor(f"25-type-{type_id}", Tensor("t", [DIM], row, type_id))
    _one_tensor("26-row-33-of-q8_0", Tensor("t", [33, 32], bytes(33 * 34), Q8_0))
    _one_tensor("26-row-32-of-q4_k", Tensor("t", [32, 8], bytes(144), 12))
    _one_tensor("27-offset-misaligned", Tensor("t", [8], row, offset=16))
    _tensor("28-overlap-whole", "output_norm.weight", offset=0)
    _tensor("28-overlap-part", "output_norm.weight", offset=len(TOKENS) * DIM * 4 - 32)
    _add("29-one-byte-short", lambda: tiny_llama().build()[:-1])
    _one_tensor("29-offset-at-end", Tensor("t", [DIM], row, offset=4 * DIM))
    _one_tensor("30-offset-wraps", Tensor("t", [DIM], row, offset=-32))
    _one_tensor("30-offset-2^63", Tensor("t", [DIM], row, offset=TOP))


def _config_cases() -> None:
    _file("31-no-architecture", lambda craft: craft.keys.pop("general.architecture"))
    _key("31-unknown-architecture", "general.architecture", text("nonsense"))
    _key("31-architecture-number", "general.architecture", number(UINT32, 1))
    heads, kv_heads = "llama.attention.head_count", "llama.attention.head_count_kv"
    _key("32-heads-zero", heads, number(UINT32, 0))
    _key("32-heads-not-dividing", heads, number(UINT32, 3))
    _key("32-kv-heads-zero", kv_heads, number(UINT32, 0))
    _key("32-kv-heads-more-than-heads", kv_heads, number(UINT32, 4))
    for layers in (0, 2, 1 << 31):
        _key(f"33-layers-{layers}", "llama.block_count", number(UINT32, layers))
    for context in (0, (1 << 32) - 1):
        _key(f"34-context-{context}", "llama.context_length", number(UINT32, context))
    base, epsilon = "llama.rope.freq_base", "llama.attention.layer_norm_rms_epsilon"
    for value in (math.nan, math.inf, 0.0, -1.0):
        _key(f"35-rope-base-{value}", base, number(FLOAT32, value))
        _key(f"35-epsilon-{value}", epsilon, number(FLOAT32, value))


def _tensor_cases() -> None:
    extra = Tensor.f32("blk.0.surprise.weight", np.zeros(DIM, np.float32))
    for name in ("output_norm.weight", "token_embd.weight", "blk.0.attn_q.weight"):
        others = [tensor for tensor in tiny_llama().tensors if tensor.name != name]
        _header(f"36-missing-{name}", tensors=others)
    _file("36-extra", lambda craft: craft.tensors.append(extra))
    _tensor("36-transposed-ffn_up", "blk.0.ffn_up.weight", dims=[HIDDEN, DIM])
    _tensor("36-transposed-attn_k", "blk.0.attn_k.weight", dims=[DIM // 2, DIM])
    _tensor("36-weight-of-int32", "blk.0.attn_v.weight", type=26)
    for name in ("token_embd.weight", "output.weight"):
        for rows in (len(TOKENS) - 1, len(TOKENS) + 1):
            values = {"dims": [DIM, rows], "data": bytes(rows * DIM * 4)}
            _tensor(f"37-{name}-{rows}-rows", name, **values)


def _tokenizer_cases() -> None:
    n_vocab = len(TOKENS)
    scores, types = "tokenizer.ggml.scores", "tokenizer.ggml.token_type"
    tokens = "tokenizer.ggml.tokens"
    _key("38-scores-short", scores, numbers(FLOAT32, [0.0] * (n_vocab - 1)))
    _key("38-scores-narrow", scores, numbers(INT8, [0] * n_vocab))
    _key("38-types-long", types, numbers(INT32, [1] * (n_vocab + 1)))
    _key("38-types-narrow", types, numbers(UINT8, [1] * n_vocab))
    for role in ("bos", "eos", "unknown"):
        _key(f"39-{role}-id", f"tokenizer.ggml.{role}_token_id", number(UINT32, n_vocab))
    _add("39-default-eos-id", _default_eos)
    for index, piece in ((4, "<0x-1>"), (4, "<0xZZ>"), (4, "<0x1>"), (4, "byte")):
        _key(f"40-byte-piece-{piece}", tokens, texts(_replaced(index, piece)))
    _add("41-merge-of-unknown-piece", lambda: bpe_llama(["a b", "a zz"]).build())
    _add("41-merge-without-space", lambda: bpe_llama(["a b", "ab"]).build())
    _key("42-piece-empty", tokens, texts(_replaced(-1, "")))
    _key("42-piece-1-mib", tokens, texts(_replaced(-1, "x" * (1 << 20))))
    _key("42-piece-duplicate", tokens, texts(_replaced(-1, TOKENS[-2])))
    _key("42-piece-not-utf8", tokens, texts([*TOKENS[:-1], b"\xff\xfe"]))


def _replaced(index: int, piece: str) -> list[str]:
    pieces = list(TOKENS)
    pieces[index] = piece
    return pieces


def _default_eos() -> bytes:
    """Two pieces and no ids: the default eos of SentencePiece vocabularies, 2, does not exist."""
    craft = tiny_llama(n_vocab=2)
    for role in ("bos", "eos", "unknown"):
        del craft.keys[f"tokenizer.ggml.{role}_token_id"]
    return craft.build()


def bpe_llama(merges: list[str]) -> Craft:
    """The tiny model with a byte-level BPE vocabulary of six pieces."""
    craft = tiny_llama(n_vocab=6)
    craft.keys |= {
        "tokenizer.ggml.model": text("gpt2"),
        "tokenizer.ggml.pre": text("default"),
        "tokenizer.ggml.tokens": texts(["a", "b", "c", "ab", "<s>", "</s>"]),
        "tokenizer.ggml.token_type": numbers(INT32, [1, 1, 1, 1, 3, 3]),
        "tokenizer.ggml.merges": texts(merges),
        "tokenizer.ggml.bos_token_id": number(UINT32, 4),
        "tokenizer.ggml.eos_token_id": number(UINT32, 5),
    }
    del craft.keys["tokenizer.ggml.scores"]
    del craft.keys["tokenizer.ggml.unknown_token_id"]
    return craft


def _numeric_cases() -> None:
    """Case 43 loads; what then becomes visible is for the code that reads the weights."""
    for label, value in (("nan", math.nan), ("inf", math.inf)):
        scale = struct.pack("<e", value)
        blocks = scale + bytes(32) + (struct.pack("<e", 0.01) + bytes(range(32))) * 63
        _tensor(f"43-{label}-scale", "blk.0.ffn_up.weight", type=Q8_0, data=blocks)
        row = struct.pack("<f", value) * DIM
        _tensor(f"43-{label}-norm", "output_norm.weight", data=row)


def _template_cases() -> None:
    for label, template in (
        ("escape", "{{ ''.__class__.__mro__[1].__subclasses__() }}"),
        ("memory", "{{ 'a' * 300000000 }}"),
        ("loop", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
        ("syntax", "{% if %}"),
        ("import", "{% include '/etc/passwd' %}"),
    ):
        _key(f"44-template-{label}", "tokenizer.chat_template", text(template))


def _accepted_cases() -> None:
    _add("48-trailing-bytes", lambda: tiny_llama().build() + bytes(range(99)))


for _fill in (
    _header_cases,
    _metadata_cases,
    _directory_cases,
    _config_cases,
    _tensor_cases,
    _tokenizer_cases,
    _numeric_cases,
    _template_cases,
    _accepted_cases,
):
    _fill()


def numbered(first: int, last: int) -> list[str]:
    """Names of the cases whose catalogue number lies in this range."""
    return [name for name in CASES if first <= int(name[:2]) <= last]


def split_parts(count: int = 3) -> list[bytes]:
    """The tiny model as `count` files; part i is to be named `…-0000i-of-0000n.gguf`."""
    whole = tiny_llama()
    parts = []
    for index in range(count):
        keys = whole.keys if index == 0 else {}
        own: dict[str | bytes, Fields] = {
            "split.no": number(UINT16, index),
            "split.count": number(UINT16, count),
            "split.tensors.count": number(INT32, len(whole.tensors)),
        }
        parts.append(replace(whole, keys=keys | own, tensors=whole.tensors[index::count]).build())
    return parts
