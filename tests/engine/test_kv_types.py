"""What the type of the cache costs: memory, and how far the logits move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from shared_data import shared
from tiny_llama import write_tiny_llama

from pyllama_rt.config import LoadConfig
from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session

N_CTX, N_WINDOWS = 512, 4


def log_softmax(path: Path, texts: list[list[int]], kv_type: str) -> NDArray[np.float64]:
    outputs = []
    with load_model(path, LoadConfig(n_ctx=N_CTX, kv_type=kv_type)) as model:
        for ids in texts:
            with Session(model) as session:
                outputs.append(session.eval(ids, all_logits=True))
    logits = np.concatenate(outputs).astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return result


def test_a_q8_0_cache_hardly_moves_the_demo_model(tmp_path: Path) -> None:
    path = tmp_path / "f32.gguf"
    convert_checkpoint(shared("models/demo"), path, outtype="f32")
    text = shared("models/demo/valid.txt").read_text(encoding="utf-8")[:30000]
    with load_model(path) as model:
        ids = model.tokenizer.encode(text, add_bos=False)
    step = N_CTX - 1
    texts = [[1, *ids[i * step : (i + 1) * step]] for i in range(N_WINDOWS)]
    true = log_softmax(path, texts, "f16")
    other = log_softmax(path, texts, "q8_0")
    divergence = float((np.exp(true) * (true - other)).sum(axis=-1).mean())
    print(f"{len(true)} positions, mean KL of q8_0 from f16 {divergence:.2e}")
    assert len(true) >= 2000
    assert 0 < divergence <= 5e-5


@pytest.mark.parametrize(("kv_type", "per_element"), [("f32", 4), ("f16", 2), ("q8_0", 34 / 32)])
def test_bytes_per_position(tmp_path: Path, kv_type: str, per_element: float) -> None:
    tiny = write_tiny_llama(tmp_path / "m.gguf")
    with load_model(tiny.path, LoadConfig(n_ctx=64, kv_type=kv_type)) as model:
        config = model.model_config
        elements = 2 * sum(config.n_kv_heads) * config.head_dim
        assert model.program.kv_bytes_per_cell(kv_type) == elements * per_element
        with Session(model) as session:
            session.eval([1, 2, 3])
        assert model.memory_need().cache == 64 * elements * per_element
