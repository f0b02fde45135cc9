"""Files written here in llama.cpp, against what transformers and llama2.c say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared_data import shared

from pyllama_rt.convert import convert_checkpoint, quantize_file

pytestmark = pytest.mark.peer


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    """Opens a file in llama.cpp, on its plain kernels: its AMX ones end the process on machines
    that announce AMX without granting it.
    """
    llama_cpp = pytest.importorskip("llama_cpp")
    inner = llama_cpp.llama_cpp
    defaults = inner.llama_model_default_params

    def plain() -> Any:
        params = defaults()
        params.use_extra_bufts = False
        return params

    monkeypatch.setattr(inner, "llama_model_default_params", plain)

    def load(path: Path) -> Any:
        return llama_cpp.Llama(str(path), n_ctx=512, n_batch=512, logits_all=True, verbose=False)

    return load


@pytest.mark.parametrize("outtype", ["f16", "f32", "bf16"])
def test_the_demo_model_gives_the_reference(
    outtype: str, peer: Callable[[Path], Any], tmp_path: Path
) -> None:
    reference = np.load(shared("models/demo/reference.npz"))
    convert_checkpoint(shared("models/demo"), tmp_path / "x.gguf", outtype=outtype)
    model = peer(tmp_path / "x.gguf")
    model.eval(reference["ids"].tolist())
    logits = np.array(model.scores[: len(reference["ids"])])
    top = (logits.argmax(1) == reference["logits"].argmax(1)).mean()
    if outtype == "bf16":  # weights lose bits, so near ties may fall the other way
        assert top > 0.97
    else:
        assert top == 1.0
        assert np.abs(logits - reference["logits"]).max() < 0.02


def test_the_public_stories_come_out(peer: Callable[[Path], Any], tmp_path: Path) -> None:
    source = shared("models/stories260K/stories260K.bin")
    expected = shared("models/stories260K/expected.txt").read_text().rstrip("\n")
    convert_checkpoint(source, tmp_path / "x.gguf", outtype="f32")
    text = peer(tmp_path / "x.gguf")("", max_tokens=255, temperature=0)["choices"][0]["text"]
    assert len(text) > 400
    assert expected.startswith(text)


@pytest.mark.parametrize("mix", ["q8_0", "q6_k", "q4_k_m", "q2_k", "iq4_xs", "q5_1"])
def test_quantised_files_load_and_answer(
    mix: str, peer: Callable[[Path], Any], tmp_path: Path
) -> None:
    convert_checkpoint(shared("models/demo"), tmp_path / "f16.gguf")
    quantize_file(tmp_path / "f16.gguf", tmp_path / "x.gguf", mix)
    reference = np.load(shared("models/demo/reference.npz"))
    model = peer(tmp_path / "x.gguf")
    model.eval(reference["ids"].tolist())
    logits = np.array(model.scores[: len(reference["ids"])])
    top = (logits.argmax(1) == reference["logits"].argmax(1)).mean()
    assert top > (0.85 if mix == "q2_k" else 0.93)
    messages = [{"role": "user", "content": "What is 3 plus 4?"}]
    answer = model.create_chat_completion(messages, max_tokens=20, temperature=0)
    if mix != "q2_k":
        assert "7" in answer["choices"][0]["message"]["content"]
