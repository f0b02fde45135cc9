"""Well-formed files that hold no usable model: refused with one line that names the field.

The cases are numbers 31 to 48 of the catalogue and what the metadata of a model can say besides.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from gguf_cases import CASES, numbered
from gguf_craft import (
    DIM,
    FLOAT32,
    INT32,
    TOKENS,
    UINT32,
    UINT64,
    Craft,
    Fields,
    Tensor,
    number,
    numbers,
    text,
    tiny_llama,
)

from pyllama_rt.config import LoadConfig
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import (
    ConfigError,
    FormatError,
    NumericsError,
    PyllamaRtError,
    ResourceError,
    UnsupportedError,
)

# Longest matching start of a case's name wins: the words that the message must hold.
REASONS = {
    "31-no": "'general.architecture': expected a string, found no key",
    "31-unknown": "architecture 'nonsense' is not supported",
    "31-architecture-number": "'general.architecture' at byte 56: expected a string, found UINT32",
    "32-heads-zero": "llama.attention.head_count: expected 1 to",
    "32-heads-not": "llama.attention.head_count: expected a divisor of the width 32, found 3",
    "32-kv-heads-zero": "llama.attention.head_count_kv: expected 1 to",
    "32-kv-heads-more": "llama.attention.head_count_kv: expected a divisor of 2 heads",
    "33": "llama.block_count: expected 1 to 4096, found",
    "33-layers-2": "tensor 'blk.1.attn_norm.weight' is missing",
    "33-layers-2147483648": "llama.block_count: expected 1 to 4096, found 2147483648",
    "34-context-0": "llama.context_length: expected 1 to 4294967295, found 0",
    "35-rope": "llama.rope.freq_base: expected a",
    "35-epsilon": "llama.attention.layer_norm_rms_epsilon: expected a",
    "36-missing-output_norm": "tensor 'output_norm.weight' is missing",
    "36-missing-token_embd": "tensor 'token_embd.weight' is missing",
    "36-missing-blk": "tensor 'blk.0.attn_q.weight' is missing",
    "36-extra": "'blk.0.surprise.weight'",
    "36-transposed-ffn_up": "tensor 'blk.0.ffn_up.weight' shape: expected (64, 32), found (32, 64)",
    "36-transposed-attn_k": "tensor 'blk.0.attn_k.weight' shape: expected (16, 32), found (32, 16)",
    "36-weight": "tensor 'blk.0.attn_v.weight': type i32 cannot be a weight",
    "37-token": "tensor 'token_embd.weight' shape: expected (272, 32)",
    "37-output": "tensor 'output.weight' shape: expected (272, 32)",
    "38-scores-short": "scores: expected 272 entries, one per piece, found 271",
    "38-scores-narrow": "'tokenizer.ggml.scores' at byte",
    "38-types-long": "types: expected 272 entries, one per piece, found 273",
    "38-types-narrow": "tokenizer.ggml.token_type: expected an array of INT32, found UINT8",
    "39-bos": "bos_id: expected 0 to 271, found 272",
    "39-eos": "eos_id: expected 0 to 271, found 272",
    "39-unknown": "unk_id: expected 0 to 271, found 272",
    "39-default": "eos_id: expected 0 to 1, found 2",
    "40": "byte piece 4: expected <0x00> to <0xFF>",
    "41-merge-of": "tokenizer.ggml.merges 'a zz': expected pieces of the vocabulary, found 'zz'",
    "41-merge-without": "tokenizer.ggml.merges[1]: expected two pieces with one space between",
    "42-piece-empty": "piece 271: expected some text",
    "42-piece-1-mib": "piece 271: expected up to",
    "42-piece-duplicate": "pieces: expected different ones",
    "42-piece-not": "element 271 of 'tokenizer.ggml.tokens' at byte 594: expected UTF-8",
}
UNSUPPORTED = ("31-unknown", "36-weight")
# These files are fine to load: see the tests below for what they do.
LOADABLE = [*numbered(43, 48), "34-context-4294967295"]
REFUSED = [name for name in numbered(31, 42) if name not in LOADABLE]


def write(folder: Path, data: bytes) -> Path:
    path = folder / "m.gguf"
    path.write_bytes(data)
    return path


def refusal(path: Path, config: LoadConfig | None = None) -> PyllamaRtError:
    """The error of a load, checked to be one line about this file."""
    with pytest.raises(PyllamaRtError) as caught:
        load_model(path, config)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300
    assert type(caught.value) in (FormatError, UnsupportedError, ConfigError, ResourceError)
    return caught.value


def logits(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with load_model(path) as model, Session(model) as session:
        return session.eval([1, 2, 3])


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    error = refusal(write(tmp_path, CASES[name]()))
    assert type(error) is (UnsupportedError if name.startswith(UNSUPPORTED) else FormatError)
    reason = max((key for key in REASONS if name.startswith(key)), key=len)
    assert REASONS[reason] in str(error)


@pytest.mark.parametrize("name", numbered(44, 48))
def test_loads_and_evaluates(name: str, tmp_path: Path) -> None:
    """A hostile template is the chat layer's to judge; trailing bytes are nobody's."""
    expected = logits(write(tmp_path, tiny_llama().build()))
    assert np.array_equal(logits(write(tmp_path, CASES[name]())), expected)


@pytest.mark.parametrize("name", numbered(43, 43))
def test_non_finite_weights(name: str, tmp_path: Path) -> None:
    with load_model(write(tmp_path, CASES[name]())) as model, Session(model) as session:
        for _ in range(2):
            with pytest.raises(NumericsError, match="logits: position"):
                session.eval([1, 2, 3])
            assert session.tokens == []


def test_a_huge_context_sizes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, CASES["34-context-4294967295"]())
    with load_model(path) as model, Session(model) as session:
        assert model.n_ctx == 4096
        assert np.isfinite(session.eval([1, 2, 3])).all()
        need = model.memory_need()
        assert need.cache + need.scratch < 16 << 20


def test_a_context_that_cannot_fit(tmp_path: Path) -> None:
    path = write(tmp_path, tiny_llama().build())
    error = refusal(path, LoadConfig(n_ctx=1 << 30, n_batch=1 << 16))
    assert isinstance(error, ResourceError)
    assert "ask for a smaller context" in str(error)


KEYS: dict[str, tuple[str, Fields, str]] = {
    "experts": ("llama.expert_count", number(UINT32, 8), "llama.expert_used_count"),
    "experts-negative": ("llama.expert_count", number(INT32, -1), "llama.expert_count: expected 1"),
    "scaling": ("llama.rope.scaling.type", text("ntk"), "llama.rope.scaling.type: "),
    "value-length": ("llama.attention.value_length", number(UINT32, 8), "attention.value_length"),
    "width-0": ("llama.embedding_length", number(UINT32, 0), "llama.embedding_length: expected 1"),
    "width-2^31": ("llama.embedding_length", number(UINT32, 1 << 31), "llama.embedding_length"),
    "width-2^63": ("llama.embedding_length", number(UINT64, 1 << 63), "llama.embedding_length"),
    "width-text": ("llama.embedding_length", text("32"), "'llama.embedding_length' at byte"),
    "width-float": ("llama.embedding_length", number(FLOAT32, 32), "'llama.embedding_length' at"),
    "hidden-0": ("llama.feed_forward_length", number(UINT32, 0), "llama.feed_forward_length: exp"),
    "hidden-other": ("llama.feed_forward_length", number(UINT32, 65), "'blk.0.ffn_gate.weight'"),
    "hidden-array": ("llama.feed_forward_length", numbers(UINT32, [64, 64]), "1 numbers, one a"),
    "hidden-none": ("llama.feed_forward_length", numbers(UINT32, []), "1 numbers, one a layer"),
    "heads-array": ("llama.attention.head_count", numbers(UINT32, [2, 2]), "1 numbers, one a"),
    "heads-texts": ("llama.attention.head_count", text("two"), "'llama.attention.head_count' at"),
    "heads-huge": ("llama.attention.head_count", number(UINT64, (1 << 64) - 1), "head_count: exp"),
    "key-0": ("llama.attention.key_length", number(UINT32, 0), "llama.attention.key_length: exp"),
    "key-odd": ("llama.attention.key_length", number(UINT32, 17), "'blk.0.attn_q.weight' shape"),
    "key-huge": ("llama.attention.key_length", number(UINT32, 1 << 31), "key_length: expected 1"),
    "rope-dims-0": ("llama.rope.dimension_count", number(UINT32, 0), "rope.dimension_count: exp"),
    "rope-dims-odd": ("llama.rope.dimension_count", number(UINT32, 7), "expected an even number"),
    "rope-dims-wide": ("llama.rope.dimension_count", number(UINT32, 18), "expected 2 to 16"),
    "rope-base-text": ("llama.rope.freq_base", text("10000"), "'llama.rope.freq_base' at byte"),
    "layers-negative": ("llama.block_count", number(INT32, -1), "llama.block_count: expected 1"),
    "tokenizer": ("tokenizer.ggml.model", text("x" * 9999), "tokenizer 'xxx"),
    "tokenizer-number": ("tokenizer.ggml.model", number(UINT32, 1), "'tokenizer.ggml.model' at"),
    "scores-nan": ("tokenizer.ggml.scores", numbers(FLOAT32, [math.nan] * 272), "scores"),
    "types-unknown": ("tokenizer.ggml.token_type", numbers(INT32, [9] * 272), "type of piece 0"),
    "bos-negative": ("tokenizer.ggml.bos_token_id", number(INT32, -1), "bos"),
    "bos-text": ("tokenizer.ggml.bos_token_id", text("<s>"), "'tokenizer.ggml.bos_token_id' at"),
}


@pytest.mark.parametrize("name", KEYS)
def test_one_wrong_key(name: str, tmp_path: Path) -> None:
    key, value, reason = KEYS[name]
    craft = tiny_llama()
    craft.keys[key] = value
    if name == "value-length":
        craft.keys["llama.attention.key_length"] = number(UINT32, DIM // 2)
    error = refusal(write(tmp_path, craft.build()))
    assert reason in str(error)
    unsupported = ("scaling", "value-length", "tokenizer")
    wanted = name.startswith(unsupported) and name != "tokenizer-number"
    assert type(error) is (UnsupportedError if wanted else FormatError)


@pytest.mark.parametrize("factor", [-1.0, math.nan, math.inf])
def test_wrong_linear_scaling(factor: float, tmp_path: Path) -> None:
    craft = tiny_llama()
    craft.keys["llama.rope.scaling.type"] = text("linear")
    craft.keys["llama.rope.scaling.factor"] = number(FLOAT32, factor)
    assert "llama.rope.scaling.factor" in str(refusal(write(tmp_path, craft.build())))


OPTIONAL = ("general.name", "llama.vocab_size", "tokenizer.ggml.bos_token_id",
            "tokenizer.ggml.eos_token_id", "tokenizer.ggml.unknown_token_id",
            "llama.attention.head_count_kv", "llama.rope.dimension_count",
            "llama.rope.freq_base")  # fmt: skip


@pytest.mark.parametrize("key", [str(key) for key in tiny_llama().keys])
def test_one_missing_key(key: str, tmp_path: Path) -> None:
    craft = tiny_llama()
    del craft.keys[key]
    path = write(tmp_path, craft.build())
    if key == "llama.attention.head_count_kv":  # as many as heads then, and the keys are narrower
        assert "tensor 'blk.0.attn_k.weight' shape" in str(refusal(path))
    elif key in OPTIONAL:
        assert logits(path).shape == (1, len(TOKENS))
    else:
        assert key in str(refusal(path))


def _bad_tensor(name: str, dims: list[int], data: bytes, type_id: int) -> Craft:
    craft = tiny_llama()
    craft.tensors[craft.tensors.index(craft.tensor(name))] = Tensor(name, dims, data, type_id)
    return craft


def test_a_norm_in_blocks(tmp_path: Path) -> None:
    craft = _bad_tensor("output_norm.weight", [DIM], bytes(34), 8)
    error = refusal(write(tmp_path, craft.build()))
    assert "'output_norm.weight': expected f32, f16 or bf16, found q8_0" in str(error)


@pytest.mark.parametrize("n_rows", [1, 2])
def test_a_bias_of_the_wrong_shape(n_rows: int, tmp_path: Path) -> None:
    craft = tiny_llama()
    craft.tensors.append(Tensor.f32("blk.0.attn_q.bias", np.zeros((n_rows, DIM // n_rows), "f4")))
    error = refusal(write(tmp_path, craft.build()))
    assert "tensor 'blk.0.attn_q.bias' shape" in str(error)


def test_a_vocabulary_without_a_model(tmp_path: Path) -> None:
    craft = tiny_llama()
    craft.tensors.clear()
    assert "no tensors" in str(refusal(write(tmp_path, craft.build())))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_refused_models_leave_nothing_open(tmp_path: Path) -> None:
    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), Path("/proc/self/maps").read_text().count(".gguf")

    before = held()
    for name in REFUSED[::5]:
        refusal(write(tmp_path, CASES[name]()))
    assert held() == before
