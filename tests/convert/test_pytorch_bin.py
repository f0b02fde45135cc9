"""Hugging Face directories with pytorch_model.bin: the same file as from safetensors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import HuggingFace, config, weights
from convert_refused import refused
from torch_files import Storage, archive, tensor, write_torch

from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.formats.gguf import GgufFile

INDEX = "pytorch_model.bin.index.json"


def converted(source: Path, **options: Any) -> bytes:
    out = source.parent / f"{source.name}.gguf"
    convert_checkpoint(source, out, **options)
    return out.read_bytes()


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("n_shards", [1, 3])
def test_the_result_is_that_of_safetensors(dtype: str, n_shards: int, tmp_path: Path) -> None:
    source = HuggingFace(dtype=dtype)
    for i, write in enumerate((None, write_torch)):
        folder = tmp_path / str(i) / "m"
        folder.mkdir(parents=True)
        if write is None:
            source.write(folder, n_shards)
        else:
            source.write(folder, n_shards, write)
    assert converted(tmp_path / "0" / "m") == converted(tmp_path / "1" / "m")


def test_safetensors_are_preferred(tmp_path: Path) -> None:
    other = HuggingFace(arrays=weights(config(), seed=1))
    expected = converted(HuggingFace().write(tmp_path / "m"))
    other.write(tmp_path / "m", write_weights=write_torch)
    assert converted(tmp_path / "m") == expected
    other.write(tmp_path / "m", 2, write_torch)
    assert converted(tmp_path / "m") == expected


def test_a_tied_head_shares_the_storage_of_the_embedding(tmp_path: Path) -> None:
    """As torch.save writes a model whose head is the embedding itself."""
    source = HuggingFace(config(tie_word_embeddings=True))
    folder = source.write(tmp_path / "m", write_weights=write_torch)
    storages = {
        name: Storage(str(i), array.astype(np.float32).tobytes(), array.size)
        for i, (name, array) in enumerate(source.arrays.items())
        if name != "lm_head.weight"
    }
    state = {name: tensor(s, source.arrays[name].shape) for name, s in storages.items()}
    embedding = storages["model.embed_tokens.weight"]
    state["lm_head.weight"] = tensor(embedding, source.arrays["lm_head.weight"].shape)
    (folder / "pytorch_model.bin").write_bytes(archive(state, *storages.values()))
    convert_checkpoint(folder, tmp_path / "x.gguf")
    with GgufFile.open(tmp_path / "x.gguf") as file:
        assert "output.weight" not in file.tensors


def test_the_file_itself_is_refused_with_a_hint(tmp_path: Path) -> None:
    folder = HuggingFace().write(tmp_path / "m", write_weights=write_torch)
    refused(folder / "pytorch_model.bin").match("name the directory that holds it")


def test_code_in_a_model_is_not_run(tmp_path: Path) -> None:
    """Neither what a pickle calls nor the modules that `auto_map` names."""
    source = HuggingFace(config(auto_map={"AutoModelForCausalLM": "evil.Model"}))
    folder = source.write(tmp_path / "m", write_weights=write_torch)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    convert_checkpoint(folder, tmp_path / "x.gguf")
    attack = "import os\nclass A:\n def __reduce__(s): return os.system, ('exit 7',)\n"
    write = "import pickle, sys; sys.stdout.buffer.write(pickle.dumps({'w': A()}, 2))"
    raw = subprocess.run(
        [sys.executable, "-c", attack + write], capture_output=True, check=True
    ).stdout
    (folder / "pytorch_model.bin").write_bytes(raw)
    refused(folder).match("a bare pickle")
    assert not (tmp_path / "ran").exists()


def test_pickles_are_told_from_llama2c(tmp_path: Path) -> None:
    for head in (b"PK\x03\x04", b"\x80\x02\x8a\x0a"):
        (tmp_path / "pytorch_model.bin").write_bytes(head + bytes(99))
        refused(tmp_path / "pytorch_model.bin").match("it is a PyTorch file")
    (tmp_path / "model.bin").write_bytes(b"\x80\x02\0\0" + bytes(99))  # a width of 640
    refused(tmp_path / "model.bin").match("hidden_dim")


FIRST = "pytorch_model-00001-of-00003.bin"
LAST = "pytorch_model-00003-of-00003.bin"


def edit(folder: Path, tensor: str, file: str | None) -> None:
    index = json.loads((folder / INDEX).read_text())
    if file is None:
        del index["weight_map"][tensor]
    else:
        index["weight_map"][tensor] = file
    (folder / INDEX).write_text(json.dumps(index))


def test_broken_shards_are_refused(tmp_path: Path) -> None:
    norm = "model.norm.weight"
    cases: list[tuple[Any, str]] = [
        (lambda m: (m / LAST).unlink(), "00003.*missing"),
        (lambda m: write_torch(m / "pytorch_model-00004-of-00003.bin", {}), "not name this file"),
        (lambda m: write_torch(m / LAST, HuggingFace().arrays), "is also in"),
        (lambda m: edit(m, norm, LAST), "model.norm.weight.*as the index says"),
        (lambda m: edit(m, "ghost", LAST), "ghost.*no such tensor"),
        (lambda m: edit(m, norm, None), "model.norm.weight"),
        (lambda m: edit(m, norm, f"../{FIRST}"), "without a folder"),
        (lambda m: edit(m, norm, f"..\\{FIRST}"), "without a folder"),
        (lambda m: (m / LAST).write_bytes((m / LAST).read_bytes()[:-1]), "zip"),
        (lambda m: (m / LAST).write_bytes(archive({"x": 1})), "state_dict"),
        (lambda m: (m / INDEX).unlink(), "expected model.safetensors.*pytorch_model.bin"),
    ]
    for i, (damage, message) in enumerate(cases):
        folder = HuggingFace().write(tmp_path / str(i), 3, write_torch)
        damage(folder)
        refused(folder).match(message)


def test_a_source_is_never_written_over(tmp_path: Path) -> None:
    folder = HuggingFace().write(tmp_path / "m", 2, write_torch)
    for out in (folder / INDEX, folder / "pytorch_model-00002-of-00002.bin"):
        with pytest.raises(ValueError, match="replace its own input"):
            convert_checkpoint(folder, out)
