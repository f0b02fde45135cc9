"""Files written here in llama.cpp, against what transformers and llama2.c say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import PREFIX, Peft, adapter_config, family_adapter, pairs
from checkpoints import N_PIECES, HuggingFace, config
from families import FAMILIES, weights
from numpy.typing import NDArray
from shared_data import shared

from pyllama_rt.convert import (
    convert_adapter,
    convert_checkpoint,
    edit_file,
    merge_adapters,
    quantize_file,
    split_file,
)

pytestmark = pytest.mark.peer


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
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

    def load(path: Path, lora: Path | None = None) -> Any:
        return llama_cpp.Llama(
            str(path), n_ctx=512, n_batch=512, logits_all=True, verbose=False,
            lora_path=None if lora is None else str(lora),
        )  # fmt: skip

    return load


@pytest.mark.parametrize("outtype", ["f16", "f32", "bf16"])
def test_the_demo_model_gives_the_reference(
    outtype: str, peer: Callable[..., Any], tmp_path: Path
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


def test_the_public_stories_come_out(peer: Callable[..., Any], tmp_path: Path) -> None:
    source = shared("models/stories260K/stories260K.bin")
    expected = shared("models/stories260K/expected.txt").read_text().rstrip("\n")
    convert_checkpoint(source, tmp_path / "x.gguf", outtype="f32")
    text = peer(tmp_path / "x.gguf")("", max_tokens=255, temperature=0)["choices"][0]["text"]
    assert len(text) > 400
    assert expected.startswith(text)


@pytest.mark.parametrize("mix", ["q8_0", "q6_k", "q4_k_m", "q2_k", "iq4_xs", "q5_1"])
def test_quantised_files_load_and_answer(
    mix: str, peer: Callable[..., Any], tmp_path: Path
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


ADAPTERS: dict[str, dict[str, Any]] = {
    "plain": {"lora_alpha": 3},
    "rank-stabilised": {"use_rslora": True, "lora_alpha": 2},
    "patterns": {"alpha_pattern": {"q_proj": 1, "down_proj": 5}},
}


@pytest.mark.parametrize("case", ADAPTERS)
def test_adapters_say_in_llama_cpp_what_merging_says(
    case: str, peer: Callable[..., Any], tmp_path: Path
) -> None:
    source = HuggingFace(config(hidden_size=64, intermediate_size=96), dtype="F32")
    rng = np.random.default_rng(4)
    for name, array in source.arrays.items():
        if array.ndim == 2:
            source.arrays[name] = array / np.float32(8)
    lora = Peft(adapter_config(**ADAPTERS[case]), pairs(source.config))
    module = f"{PREFIX}model.embed_tokens"
    for half, shape in (("A", (4, N_PIECES)), ("B", (64, 4))):
        array = rng.standard_normal(shape, dtype=np.float32) / np.float32(8)
        lora.arrays[f"{module}.lora_embedding_{half}"] = array
    base, adapter = source.write(tmp_path / "m"), lora.write(tmp_path / "lora")
    convert_checkpoint(base, tmp_path / "base.gguf", outtype="f32")
    convert_adapter(adapter, base, tmp_path / "a.gguf")
    merge_adapters(base, [adapter], tmp_path / "merged.gguf", outtype="f32")
    check_logits(peer, tmp_path)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "bert"])
def test_adapters_of_every_family_work_in_llama_cpp(
    name: str, peer: Callable[..., Any], tmp_path: Path
) -> None:
    before = weights(FAMILIES[name])
    base = HuggingFace(FAMILIES[name], before, "F32").write(tmp_path / "m")
    adapter = family_adapter(name, before)[0].write(tmp_path / "lora")
    convert_checkpoint(base, tmp_path / "base.gguf", outtype="f32")
    convert_adapter(adapter, base, tmp_path / "a.gguf")
    merge_adapters(base, [adapter], tmp_path / "merged.gguf", outtype="f32")
    check_logits(peer, tmp_path)


def check_logits(peer: Callable[..., Any], folder: Path) -> None:
    """base.gguf with a.gguf over it must answer as merged.gguf, and not as base.gguf alone."""
    ids = np.random.default_rng(1).integers(3, N_PIECES, 40).tolist()

    def logits(path: Path, lora: Path | None = None) -> NDArray[np.float32]:
        model = peer(path, lora)
        model.eval(ids)
        found: NDArray[np.float32] = np.array(model.scores[: len(ids)])
        return found

    plain = logits(folder / "base.gguf")
    adapted = logits(folder / "base.gguf", folder / "a.gguf")
    merged = logits(folder / "merged.gguf")
    difference = np.abs(adapted - merged).max()
    print(f"largest difference {difference:.2g} of {np.abs(plain - merged).max():.2g}")
    assert np.abs(plain - merged).max() > 0.3
    assert difference < 2e-3


def answer(model: Any) -> str:
    messages = [{"role": "user", "content": "What is 3 plus 4?"}]
    found = model.create_chat_completion(messages, max_tokens=20, temperature=0)
    return str(found["choices"][0]["message"]["content"])


def test_split_merged_and_edited_files_answer_the_same(
    peer: Callable[[Path], Any], tmp_path: Path
) -> None:
    whole = tmp_path / "whole.gguf"
    convert_checkpoint(shared("models/demo"), whole, outtype="q8_0")
    expected = answer(peer(whole))
    assert "7" in expected
    third = whole.stat().st_size // 3
    for parts in (
        split_file(whole, tmp_path / "a", max_tensors=7),
        split_file(whole, tmp_path / "b", max_bytes=third),
    ):
        assert len(parts) > 2
        assert answer(peer(parts[0])) == expected
    edit_file(parts[1], tmp_path / "edited.gguf", assignments=["general.name=x"])
    model = peer(tmp_path / "edited.gguf")
    assert model.metadata["general.name"] == "x"
    assert answer(model) == expected


def test_weights_from_pickles_give_the_reference(
    peer: Callable[[Path], Any], tmp_path: Path
) -> None:
    """The demo model, saved again by torch."""
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    folder = tmp_path / "m"
    folder.mkdir()
    for path in shared("models/demo").iterdir():
        if path.suffix in (".json", ".model", ".jinja"):
            (folder / path.name).write_bytes(path.read_bytes())
    torch.save(load_file(shared("models/demo") / "model.safetensors"), folder / "pytorch_model.bin")
    convert_checkpoint(folder, tmp_path / "pickled.gguf")
    reference = np.load(shared("models/demo/reference.npz"))
    model = peer(tmp_path / "pickled.gguf")
    model.eval(reference["ids"].tolist())
    logits = np.array(model.scores[: len(reference["ids"])])
    assert (logits.argmax(1) == reference["logits"].argmax(1)).all()
