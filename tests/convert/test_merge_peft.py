"""Merged models against peft's own `merge_and_unload`, for adapters that peft wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import N_PIECES, HuggingFace, config, sentencepiece
from numpy.typing import NDArray

from pyllama_rt.convert import merge_adapters
from pyllama_rt.formats.safetensors import SafetensorsFile
from pyllama_rt.tokenizer.model_proto import NORMAL, write_model_proto

peft = pytest.importorskip("peft")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore")

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES: dict[str, dict[str, Any]] = {
    "all": {"target_modules": ALL, "r": 8, "lora_alpha": 32},
    "rank-stabilised": {"target_modules": ["q_proj", "v_proj"], "use_rslora": True},
    "patterns": {
        "target_modules": ALL,
        "r": 4,
        "rank_pattern": {"layers.0.self_attn.q_proj": 2, "^model.*up_proj": 6},
        "alpha_pattern": {"(k|v)_proj": 3, "down_proj": 40},
    },
    "embedding and head": {"target_modules": ["embed_tokens", "lm_head", "q_proj"]},
    "saved modules": {
        "target_modules": ["q_proj"],
        "modules_to_save": ["embed_tokens", "lm_head", "norm"],
    },
}


def load(folder: Path) -> Any:
    return transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)


def write_base(folder: Path) -> Path:
    return HuggingFace(config(model_type="llama"), dtype="F32").write(folder)


def train(model: Any, seed: int, **options: Any) -> Any:
    """An adapter with random numbers in every matrix."""
    torch.manual_seed(seed)
    settings = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **options)
    adapted = peft.get_peft_model(model, settings)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "modules_to_save" in name:
                parameter.copy_(torch.randn(parameter.shape))
    return adapted


def arrays(model: Any) -> dict[str, NDArray[np.float32]]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def check(folder: Path, expected: dict[str, NDArray[np.float32]]) -> None:
    file = SafetensorsFile(folder / "model.safetensors")
    assert set(file.tensors) == set(expected)
    worst = 0.0
    for name, entry in file.tensors.items():
        assert entry.dtype == "F32"
        found = np.frombuffer(file.data(name), "<f4").reshape(entry.shape)
        worst = max(worst, float(np.abs(found - expected[name]).max()))
    print(f"largest difference {worst:.2g}")
    assert worst <= 1e-6
    file.close()


@pytest.mark.parametrize("case", CASES)
def test_one_adapter(case: str, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    adapted = train(load(base), 1, **CASES[case])
    adapted.save_pretrained(tmp_path / "lora")
    expected = arrays(adapted.merge_and_unload())
    changed = expected["model.layers.1.self_attn.q_proj.weight"]
    assert (
        np.abs(changed - arrays(load(base))["model.layers.1.self_attn.q_proj.weight"]).max() > 0.1
    )
    merge_adapters(base, [tmp_path / "lora"], tmp_path / "out")
    check(tmp_path / "out", expected)
    load(tmp_path / "out")


def test_stacked_adapters_over_a_vocabulary_that_grows(tmp_path: Path) -> None:
    # As Chinese-Alpaca-Plus is made: pieces are added, a first adapter trained, one more piece
    # added, a second trained on the merged model.
    base = write_base(tmp_path / "base")
    model = load(base)
    for number, n_rows in enumerate((N_PIECES + 7, N_PIECES + 8)):
        model.resize_token_embeddings(n_rows)
        adapted = train(
            model, number, r=4, target_modules=ALL, modules_to_save=["embed_tokens", "lm_head"]
        )
        folder = tmp_path / f"lora{number}"
        adapted.save_pretrained(folder)
        more = [(chr(0x4E00 + i), NORMAL) for i in range(n_rows - N_PIECES)]
        (folder / "tokenizer.model").write_bytes(write_model_proto(sentencepiece(more)))
        model = adapted.merge_and_unload()
    merge_adapters(base, [tmp_path / "lora0", tmp_path / "lora1"], tmp_path / "out")
    check(tmp_path / "out", arrays(model))
    assert load(tmp_path / "out").config.vocab_size == N_PIECES + 8
