"""Hugging Face directories to GGUF: what arrives in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import N_PIECES, HuggingFace, config, sentencepiece, weights
from numpy.typing import NDArray
from shared_data import shared

from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.formats.gguf import GgufFile, ValueType
from pyllama_rt.models.registry import architecture
from pyllama_rt.quant import dequantize, quantize
from pyllama_rt.tokenizer.model_proto import (
    CONTROL,
    NORMAL,
    UNUSED,
    USER_DEFINED,
    read_sentencepiece_model,
)

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.layers": "blk",
}


def gguf_name(name: str) -> str:
    for old, new in NAMES.items():
        name = name.replace(old, new)
    return name


def moved(name: str, array: NDArray[np.float32], values: dict[str, Any]) -> NDArray[np.float32]:
    """Rows of Q and K head by head, first and second half in turn; written without the product."""
    role = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    n_heads = next((values[key] for part, key in role.items() if part in name), None)
    if n_heads is None:
        return array
    half = len(array) // n_heads // 2
    rows = [
        array[2 * half * head + side * half + j]
        for head in range(n_heads)
        for j in range(half)
        for side in (0, 1)
    ]
    return np.array(rows, np.float32)


def tensor(file: GgufFile, name: str) -> NDArray[np.float32]:
    info = file.tensors[name]
    return dequantize(file.tensor_data(name), info.type.name, info.shape)


def check_weights(file: GgufFile, source: HuggingFace) -> None:
    assert set(file.tensors) == {gguf_name(name) for name in source.arrays}
    for name, array in source.arrays.items():
        expected = moved(name, array, source.config)
        np.testing.assert_array_equal(tensor(file, gguf_name(name)), expected, err_msg=name)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.gguf"


@pytest.mark.parametrize(("dtype", "own"), [("F16", "f16"), ("F32", "f16")])
def test_weights_arrive(dtype: str, own: str, tmp_path: Path, out: Path) -> None:
    source = HuggingFace(dtype=dtype)
    convert_checkpoint(source.write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        check_weights(file, source)
        assert file.tensors["blk.0.attn_q.weight"].type.name == own
        assert file.tensors["token_embd.weight"].type.name == own
        assert file.tensors["blk.0.attn_norm.weight"].type.name == "f32"


def test_biases_are_moved_like_their_weights(tmp_path: Path, out: Path) -> None:
    values = config(attention_bias=True, mlp_bias=True)
    source = HuggingFace(values, weights(values, biases=True))
    convert_checkpoint(source.write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        check_weights(file, source)
        assert file.tensors["blk.1.attn_k.bias"].type.name == "f32"


def test_bf16_stays_bf16(tmp_path: Path, out: Path) -> None:
    source = HuggingFace(dtype="BF16")
    for name, array in source.arrays.items():
        source.arrays[name] = (array.view(np.uint32) & 0xFFFF0000).view(np.float32)
    convert_checkpoint(source.write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        check_weights(file, source)
        assert file.tensors["output.weight"].type.name == "bf16"
        assert file.get_int("general.file_type") == 32


@pytest.mark.parametrize(("outtype", "file_type"), [("f32", 0), ("Q8_0", 7), ("q4_0", 2)])
def test_outtypes(outtype: str, file_type: int, tmp_path: Path, out: Path) -> None:
    source = HuggingFace()
    convert_checkpoint(source.write(tmp_path / "m"), out, outtype=outtype)
    with GgufFile.open(out) as file:
        assert file.get_int("general.file_type") == file_type
        assert file.get_int("general.quantization_version") == 2
        assert file.tensors["blk.0.ffn_up.weight"].type.name == outtype.lower()
        expected = quantize(source.arrays["model.layers.0.mlp.up_proj.weight"], outtype)
        assert bytes(file.tensor_data("blk.0.ffn_up.weight")) == expected.tobytes()


def test_the_config_is_read_back(tmp_path: Path, out: Path) -> None:
    values = config(head_dim=16)
    convert_checkpoint(HuggingFace(values).write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        assert file.get_str("general.architecture") == "llama"
        assert file.get_str("general.name") == "m"
        cfg = architecture("llama").from_gguf(file)
    assert (cfg.n_layers, cfg.dim, cfg.vocab_size, cfg.n_ctx_train) == (2, 32, N_PIECES, 128)
    assert (cfg.n_heads[0], cfg.n_kv_heads[0], cfg.head_dim, cfg.hidden_dim[0]) == (4, 2, 16, 64)
    assert cfg.rope is not None
    assert cfg.rope.base == 500000.0
    assert cfg.norm_eps == pytest.approx(1e-5)


def test_shards_give_the_same_file(tmp_path: Path, out: Path) -> None:
    source = HuggingFace()
    convert_checkpoint(source.write(tmp_path / "m"), out)
    (tmp_path / "sharded").mkdir()
    sharded = source.write(tmp_path / "sharded" / "m", n_shards=3)
    convert_checkpoint(sharded, tmp_path / "b.gguf")
    assert out.read_bytes() == (tmp_path / "b.gguf").read_bytes()


@pytest.mark.parametrize("declared", [None, True])
def test_a_tied_head_is_left_out(declared: bool | None, tmp_path: Path, out: Path) -> None:
    source = HuggingFace(config(tie_word_embeddings=declared))
    if declared:  # stored twice, as some exporters do
        source.arrays["lm_head.weight"] = source.arrays["model.embed_tokens.weight"]
    else:
        del source.arrays["lm_head.weight"]
    convert_checkpoint(source.write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        assert "output.weight" not in file.tensors
        assert "token_embd.weight" in file.tensors


def test_inverse_frequencies_are_ignored(tmp_path: Path, out: Path) -> None:
    source = HuggingFace()
    source.arrays["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)
    convert_checkpoint(source.write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        assert len(file.tensors) == len(source.arrays) - 1


def test_the_vocabulary_arrives_with_its_types(tmp_path: Path, out: Path) -> None:
    extra = [("<FIM>", USER_DEFINED), ("▁▁", USER_DEFINED)]
    values = config(vocab_size=N_PIECES + 5)
    source = HuggingFace(values, tokenizer=sentencepiece(extra))
    convert_checkpoint(source.write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        assert file.get_str("tokenizer.ggml.model") == "llama"
        assert file.get_str("tokenizer.ggml.pre") == "default"
        pieces = file.get_strings("tokenizer.ggml.tokens")
        assert pieces[:N_PIECES] == list(sentencepiece().pieces)
        assert pieces[N_PIECES:] == ["<FIM>", "  ", *(f"[PAD{N_PIECES + i}]" for i in (2, 3, 4))]
        assert file.element_type("tokenizer.ggml.scores") is ValueType.FLOAT32
        assert file.element_type("tokenizer.ggml.token_type") is ValueType.INT32
        kinds = file.get_ints("tokenizer.ggml.token_type")
        assert kinds[:4] == [2, 3, 3, 6]
        assert kinds[N_PIECES:] == [USER_DEFINED] * 2 + [UNUSED] * 3
        scores = file.get_floats("tokenizer.ggml.scores")
        assert scores[:N_PIECES] == list(sentencepiece().scores)
        assert file.get_int("tokenizer.ggml.bos_token_id") == 1
        assert file.get_int("tokenizer.ggml.eos_token_id") == 2
        assert file.get_int("tokenizer.ggml.unknown_token_id") == 0
        assert file.get_bool("tokenizer.ggml.add_bos_token")
        assert not file.get_bool("tokenizer.ggml.add_eos_token")
        assert file.get_bool("tokenizer.ggml.add_space_prefix")
        assert "tokenizer.chat_template" not in file.metadata


def test_settings_of_the_tokenizer_arrive(tmp_path: Path, out: Path) -> None:
    files = {
        "tokenizer_config.json": {
            "add_bos_token": False,
            "add_eos_token": True,
            "bos_token": {"content": "<s>", "lstrip": False},
            "eos_token": "<|im_end|>",
            "pad_token": None,
            "added_tokens_decoder": {
                "0": {"content": "<unk>", "special": True},
                str(N_PIECES): {"content": "<|im_start|>", "special": True},
                str(N_PIECES + 2): {"content": "<|im_end|>", "special": True},
                str(N_PIECES + 3): {"content": "tool▁call", "special": False},
            },
            "chat_template": [
                {"name": "default", "template": "{{ 'old' }}"},
                {"name": "tools", "template": "{{ 'tools' }}"},
            ],
        },
        "special_tokens_map.json": {"pad_token": {"content": "<unk>"}},
        "generation_config.json": {"eos_token_id": [N_PIECES + 2, 2]},
        "chat_template.jinja": "{{ 'neu 中' }}",
    }
    source = HuggingFace(config(vocab_size=N_PIECES + 4), files=files)
    convert_checkpoint(source.write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        pieces = file.get_strings("tokenizer.ggml.tokens")[N_PIECES:]
        assert pieces == ["<|im_start|>", f"[PAD{N_PIECES + 1}]", "<|im_end|>", "tool call"]
        kinds = file.get_ints("tokenizer.ggml.token_type")[N_PIECES:]
        assert kinds == [CONTROL, UNUSED, CONTROL, USER_DEFINED]
        assert file.get_int("tokenizer.ggml.eos_token_id") == N_PIECES + 2
        assert file.get_int("tokenizer.ggml.eot_token_id") == 2
        assert file.get_int("tokenizer.ggml.padding_token_id") == 0
        assert not file.get_bool("tokenizer.ggml.add_bos_token")
        assert file.get_bool("tokenizer.ggml.add_eos_token")
        assert file.get_str("tokenizer.chat_template") == "{{ 'neu 中' }}"
        assert file.get_str("tokenizer.chat_template.tools") == "{{ 'tools' }}"
        assert file.get_strings("tokenizer.chat_templates") == ["tools"]


def test_added_tokens_follow_the_pieces(tmp_path: Path, out: Path) -> None:
    files = {
        "added_tokens.json": {"[PAD]": N_PIECES},
        "special_tokens_map.json": {"pad_token": "[PAD]"},
    }
    source = HuggingFace(config(vocab_size=N_PIECES + 1), files=files)
    convert_checkpoint(source.write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        assert file.get_strings("tokenizer.ggml.tokens")[N_PIECES] == "[PAD]"
        assert file.get_ints("tokenizer.ggml.token_type")[N_PIECES] == CONTROL
        assert file.get_int("tokenizer.ggml.padding_token_id") == N_PIECES


@pytest.mark.parametrize("says", [True, False, None])
def test_the_space_before_texts_is_as_the_settings_say(
    says: bool | None, tmp_path: Path, out: Path
) -> None:
    files = {"tokenizer_config.json": {"add_prefix_space": says}}
    model = replace(sentencepiece(), add_dummy_prefix=says is None)
    convert_checkpoint(HuggingFace(tokenizer=model, files=files).write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        assert file.get_bool("tokenizer.ggml.add_space_prefix") is (says is not False)


@pytest.mark.parametrize("token", [-1, N_PIECES])
def test_padding_that_is_no_row_is_left_out(token: int, tmp_path: Path, out: Path) -> None:
    values = config(pad_token_id=token)
    convert_checkpoint(HuggingFace(values).write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        assert not file.has("tokenizer.ggml.padding_token_id")


def test_absent_names_leave_the_ids_of_the_model(tmp_path: Path, out: Path) -> None:
    files = {
        "tokenizer_config.json": {"bos_token": "", "eos_token": {"content": ""}},
        "generation_config.json": {"eos_token_id": -1},
    }
    values = config(bos_token_id=-1, eos_token_id=-1, pad_token_id=-1)
    convert_checkpoint(HuggingFace(values, files=files).write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        assert file.get_int("tokenizer.ggml.bos_token_id") == 1
        assert file.get_int("tokenizer.ggml.eos_token_id") == 2
        assert not file.has("tokenizer.ggml.eot_token_id")


def test_a_piece_named_as_padding_keeps_its_type(tmp_path: Path, out: Path) -> None:
    files = {"special_tokens_map.json": {"pad_token": "<pad>"}}
    values = config(vocab_size=N_PIECES + 1)
    source = HuggingFace(values, tokenizer=sentencepiece([("<pad>", NORMAL)]), files=files)
    convert_checkpoint(source.write(tmp_path / "m"), out)
    with GgufFile.open(out) as file:
        assert file.get_ints("tokenizer.ggml.token_type")[N_PIECES] == NORMAL
        assert file.get_int("tokenizer.ggml.padding_token_id") == N_PIECES


def test_progress_counts_every_byte(tmp_path: Path, out: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    plan = convert_checkpoint(
        HuggingFace().write(tmp_path / "m"), out, progress=lambda *args: seen.append(args)
    )
    assert [n_done for _, n_done, _ in seen] == sorted({n_done for _, n_done, _ in seen})
    assert seen[-1][1:] == (plan.n_bytes, plan.n_bytes)
    assert seen[0][0] == "token_embd.weight"


def test_a_real_extended_vocabulary_arrives(tmp_path: Path, out: Path) -> None:
    folder = shared("tokenizers/chinese-llama-2")
    values = config(vocab_size=55296, num_hidden_layers=1, hidden_size=8, num_attention_heads=2)
    HuggingFace(values).write(tmp_path / "m")
    for path in folder.iterdir():
        (tmp_path / "m" / path.name).write_bytes(path.read_bytes())
    convert_checkpoint(tmp_path / "m", out)
    model = read_sentencepiece_model(folder / "tokenizer.model")
    with GgufFile.open(out) as file:
        assert file.get_strings("tokenizer.ggml.tokens") == list(model.pieces)
        assert file.get_floats("tokenizer.ggml.scores") == list(model.scores)
        assert file.get_ints("tokenizer.ggml.token_type") == list(model.types)
        assert file.get_int("tokenizer.ggml.padding_token_id") == 32000
        assert file.get_bool("tokenizer.ggml.add_bos_token")
