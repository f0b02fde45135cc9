"""llama2.c files to GGUF."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from checkpoints import (
    LETTERS,
    LLAMA2C_HEADER,
    N_PIECES,
    sentencepiece,
    write_llama2c,
    write_llama2c_tokenizer,
)
from shared_data import shared

from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.errors import ConfigError, FormatError, PyllamaRtError, UnsupportedError
from pyllama_rt.formats.gguf import GgufFile

UNTIED = (*LLAMA2C_HEADER[:5], -N_PIECES, LLAMA2C_HEADER[6])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tmp_path / "model.bin"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.gguf"


@pytest.mark.parametrize("header", [LLAMA2C_HEADER, UNTIED])
def test_weights_arrive_unmoved(header: tuple[int, ...], model: Path, out: Path) -> None:
    arrays = write_llama2c(model, header)
    convert_checkpoint(model, out, outtype="f32")
    with GgufFile.open(out) as file:
        assert set(file.tensors) == set(arrays)
        assert ("output.weight" in arrays) is (header is UNTIED)
        for name, array in arrays.items():
            assert file.tensors[name].shape == array.shape
            assert bytes(file.tensor_data(name)) == array.tobytes(), name
        assert file.get_str("general.name") == "model"
        assert file.get_int("llama.attention.head_count_kv") == 2
        assert file.get_int("llama.context_length") == 32
        assert file.get_float("llama.rope.freq_base") == 10000.0
        assert file.get_float("llama.attention.layer_norm_rms_epsilon") == pytest.approx(1e-5)


def test_the_vocabulary_equals_the_model_it_was_made_from(model: Path, out: Path) -> None:
    write_llama2c(model)
    convert_checkpoint(model, out)
    with GgufFile.open(out) as file:
        assert file.get_strings("tokenizer.ggml.tokens") == list(sentencepiece().pieces)
        assert file.get_ints("tokenizer.ggml.token_type") == list(sentencepiece().types)
        assert file.get_floats("tokenizer.ggml.scores") == list(sentencepiece().scores)
        assert file.get_int("general.file_type") == 1


def test_the_tokenizer_is_found_or_named(model: Path, out: Path, tmp_path: Path) -> None:
    write_llama2c(model)
    own = model.with_name(f"tok{N_PIECES}.bin")
    own.rename(tmp_path / "tokenizer.bin")
    convert_checkpoint(model, out)
    (tmp_path / "tokenizer.bin").rename(tmp_path / "other")
    with pytest.raises(ConfigError, match="--tokenizer"):
        convert_checkpoint(model, out)
    convert_checkpoint(model, out, tokenizer=tmp_path / "other")
    with pytest.raises(ConfigError, match="cannot open"):
        convert_checkpoint(model, out, tokenizer=tmp_path / "absent")


def test_every_other_size_is_refused(model: Path, out: Path) -> None:
    write_llama2c(model)
    whole = model.read_bytes()
    for raw in (whole[:-1], whole + b"\0", whole[:-4], whole[:28], whole[:27], whole[:1]):
        model.write_bytes(raw)
        with pytest.raises(FormatError, match=r"model\.bin"):
            convert_checkpoint(model, out)
    model.write_bytes(b"")
    with pytest.raises(PyllamaRtError, match="empty"):
        convert_checkpoint(model, out)
    assert not out.exists()


@pytest.mark.parametrize("index", range(7))
@pytest.mark.parametrize("value", [0, -1, -(2**31), 2**31 - 1, 3])
def test_lying_headers_are_refused(index: int, value: int, model: Path, out: Path) -> None:
    write_llama2c(model)
    raw = bytearray(model.read_bytes())
    struct.pack_into("<i", raw, 4 * index, value)
    model.write_bytes(raw)
    with pytest.raises(FormatError) as caught:
        convert_checkpoint(model, out)
    assert str(caught.value).count(str(model)) == 1
    assert not out.exists()


def test_later_versions_are_named(model: Path, out: Path) -> None:
    model.write_bytes(struct.pack("<Ii", 0x616B3432, 1) + bytes(248))
    with pytest.raises(UnsupportedError, match="version 0"):
        convert_checkpoint(model, out)


def test_broken_tokenizers_are_refused(model: Path, out: Path, tmp_path: Path) -> None:
    write_llama2c(model)
    path = tmp_path / "t.bin"
    write_llama2c_tokenizer(path)
    whole = path.read_bytes()
    cases = {
        "cut": whole[:-1],
        "longer": whole + b"\0",
        "only a length": whole[:4],
        "length 0": whole[:8] + struct.pack("<i", 0) + whole[12:],
        "negative length": whole[:8] + struct.pack("<i", -5) + whole[12:],
        "huge length": whole[:8] + struct.pack("<i", 2**31 - 1) + whole[12:],
        "no UTF-8": whole.replace(b"<unk>", b"<u\xffk>", 1),
        "no unk": whole.replace(b"<unk>", b"<UNK>", 1),
        "no bos": whole.replace(b"\n<s>\n", b" <s> ", 1),
        "repeated piece": whole[:-1] + LETTERS[1].encode(),
        "score that is no number": whole[:4] + struct.pack("<f", np.nan) + whole[8:],
    }
    for raw in cases.values():
        path.write_bytes(raw)
        with pytest.raises(FormatError, match=r"t\.bin"):
            convert_checkpoint(model, out, tokenizer=path)
    assert not out.exists()


def test_the_public_model_arrives(out: Path) -> None:
    source = shared("models/stories260K/stories260K.bin")
    convert_checkpoint(source, out, outtype="f32")
    with GgufFile.open(out) as file:
        raw = source.read_bytes()
        assert bytes(file.tensor_data("token_embd.weight")) == raw[28 : 28 + 4 * 512 * 64]
        assert sum(info.n_bytes for info in file.tensors.values()) < len(raw)
        assert file.get_strings("tokenizer.ggml.tokens")[:3] == ["<unk>", "<s>", "</s>"]
        assert "▁the" in file.get_strings("tokenizer.ggml.tokens")
