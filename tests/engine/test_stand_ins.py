"""Models that run with other weights than their files hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_llama import TinyLlama, write_tiny_llama

from pyllama_rt.config import LoadConfig
from pyllama_rt.engine.load import Model, StandIn, load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import FormatError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter
from pyllama_rt.quant import quantize

CONFIG = LoadConfig(n_ctx=32)
NAME = "blk.1.ffn_down.weight"


def logits(model: Model) -> bytes:
    with Session(model) as session:
        return session.eval([1, 260, 261, 262], all_logits=True).tobytes()


def stand_in(tiny: TinyLlama, name: str = NAME, type_name: str = "q4_k") -> StandIn:
    return StandIn(type_name, quantize(tiny.weights[name], type_name).reshape(-1).data)


def write_with(tiny: TinyLlama, other: dict[str, StandIn], path: Path) -> Path:
    """The model as a file with these tensors in it."""
    with GgufFile.open(tiny.path) as file, GgufWriter(path) as writer:
        for key in file.metadata:
            writer.copy(file.metadata, key)
        for name, info in file.tensors.items():
            writer.declare(name, info.shape, other[name].type if name in other else info.type)
        for name in file.tensors:
            writer.write_tensor(name, other[name].data if name in other else file.tensor_data(name))
    return path


def test_a_stand_in_is_as_good_as_a_file_with_it(tmp_path: Path) -> None:
    tiny = write_tiny_llama(tmp_path / "f16.gguf", "f16")
    other = {NAME: stand_in(tiny), "token_embd.weight": stand_in(tiny, "token_embd.weight", "q8_0")}
    with load_model(write_with(tiny, other, tmp_path / "other.gguf"), CONFIG) as model:
        expected = logits(model)
    with load_model(tiny.path, CONFIG) as model:
        before, need = logits(model), model.memory_need().weights
        model.set_weights(other)
        assert model.version == 1
        assert logits(model) == expected != before
        assert model.memory_need().weights == need + sum(w.data.nbytes for w in other.values())
        model.set_loras([])
        assert logits(model) == expected
        model.set_weights({})
        assert logits(model) == before


def test_bytes_of_another_size_are_refused_and_change_nothing(tmp_path: Path) -> None:
    tiny = write_tiny_llama(tmp_path / "f16.gguf", "f16")
    with load_model(tiny.path, CONFIG) as model:
        before = logits(model)
        short = StandIn("q4_k", np.zeros(16, np.uint8).data)
        with pytest.raises(FormatError, match=NAME):
            model.set_weights({NAME: short})
        assert logits(model) == before
        assert model.version == 0
