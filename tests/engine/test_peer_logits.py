"""The same quantised file here and in llama-cpp-python: the logits agree, for every type.

Both sides keep keys and values in F32, so that the arithmetic of the weights is compared and
not a cache's rounding. What remains with block types is chaos, not error: activations become
int8, any difference in the last bit of a float turns a code here and there, and later layers
amplify it. The last test shows it: with F16 caches the two programs are no further apart than we
are from ourselves when only the cache's type changes.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from shared_data import shared

from pyllama_rt.config import LoadConfig
from pyllama_rt.convert import convert_checkpoint, quantize_file
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, WEIGHT_TYPES

llama_cpp = pytest.importorskip("llama_cpp", reason="the comparison needs llama-cpp-python")
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]

N_CTX, N_WINDOWS = 512, 8
Logs = NDArray[np.float64]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "f32.gguf"
    convert_checkpoint(shared("models/demo"), path, outtype="f32")
    return path


def log_softmax(logits: NDArray[np.float32]) -> Logs:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    result: Logs = wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return result


def windows(path: Path) -> list[list[int]]:
    """BOS and 511 tokens of the validation text, eight times."""
    text = shared("models/demo/valid.txt").read_text(encoding="utf-8")[:60000]
    with load_model(path) as model:
        ids = model.tokenizer.encode(text, add_bos=False)
    step = N_CTX - 1
    return [[1, *ids[i * step : (i + 1) * step]] for i in range(N_WINDOWS)]


def ours(path: Path, texts: list[list[int]], kv_type: str = "f32") -> Logs:
    outputs = []
    with load_model(path, LoadConfig(n_ctx=N_CTX, kv_type=kv_type)) as model:
        for ids in texts:
            with Session(model) as session:
                outputs.append(session.eval(ids, all_logits=True))
    return log_softmax(np.concatenate(outputs))


def theirs(path: Path, texts: list[list[int]], kv_type: str = "f32") -> Logs:
    kind = getattr(llama_cpp, f"GGML_TYPE_{kv_type.upper()}")
    options = {"n_ctx": N_CTX, "n_batch": N_CTX, "type_k": kind, "type_v": kind}
    peer = llama_cpp.Llama(str(path), logits_all=True, verbose=False, **options)
    outputs = []
    for ids in texts:
        peer.reset()
        peer.eval(ids)
        outputs.append(peer.scores[: len(ids)].copy())
    peer.close()
    return log_softmax(np.concatenate(outputs))


def mean_divergence(true: Logs, other: Logs) -> float:
    """KL divergence of `other` from `true`, nats, mean over positions."""
    return float((np.exp(true) * (true - other)).sum(axis=-1).mean())


@pytest.mark.parametrize("kind", WEIGHT_TYPES)
def test_logits_agree(source: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{kind}.gguf"
    quantize_file(source, path, kind, pure=True)
    texts = windows(path)
    mine, peer = ours(path, texts), theirs(path, texts)
    divergence = mean_divergence(peer, mine)
    best = np.sort(peer, axis=-1)[:, -2:]
    clear = best[:, 1] - best[:, 0] > 0.1
    agree = (mine.argmax(axis=-1) == peer.argmax(axis=-1))[clear].mean()
    print(f"{kind}: {len(mine)} positions, mean KL {divergence:.2e}, top-1 {agree:.4f}")
    assert len(mine) >= 4000
    assert divergence <= 1e-4
    assert agree >= 0.99


@pytest.mark.parametrize("mix", ["Q4_K_M", "Q2_K", "Q8_0", "IQ4_XS", "Q5_0"])
def test_files_that_the_peer_quantised_run_here(source: Path, tmp_path: Path, mix: str) -> None:
    path = tmp_path / f"{mix}.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{mix}")
    written = llama_cpp.llama_model_quantize(
        str(source).encode(), str(path).encode(), ctypes.byref(params)
    )
    assert written == 0
    texts = windows(path)
    mine, peer = ours(path, texts), theirs(path, texts)
    divergence = mean_divergence(peer, mine)
    print(f"{mix}: {len(mine)} positions, mean KL {divergence:.2e}")
    assert divergence <= 1e-4


@pytest.mark.parametrize("kind", [kind for kind in WEIGHT_TYPES if TENSOR_TYPES[kind].is_quantized])
def test_with_f16_caches_we_are_as_near_as_to_ourselves(
    source: Path, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"{kind}.gguf"
    quantize_file(source, path, kind, pure=True)
    texts = windows(path)
    mine = ours(path, texts, "f16")
    apart = mean_divergence(theirs(path, texts, "f16"), mine)
    own = mean_divergence(ours(path, texts), mine)
    print(f"{kind}: F16 caches: mean KL {apart:.2e} to the peer, {own:.2e} to our F32 cache")
    assert apart <= 1.2 * own
