"""peft adapters as GGUF files: shapes, row order and scales, and the same sums after merging."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import PREFIX, Peft, adapter_config, pairs
from checkpoints import N_PIECES, HuggingFace, config
from numpy.typing import NDArray

from pyllama_rt.convert import convert_adapter, convert_checkpoint, merge_adapters
from pyllama_rt.convert.transforms import interleave
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.formats.gguf_adapter import NORMS_KEY, GgufAdapter


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return HuggingFace(dtype="F32").write(tmp_path / "base")


def tensor(file: GgufFile, name: str) -> NDArray[np.float32]:
    data: NDArray[np.float32] = np.frombuffer(file.tensor_data(name), "<f4")
    return data.reshape(file.tensors[name].shape)


def test_matrices_arrive_in_the_order_of_the_file(base: Path, tmp_path: Path) -> None:
    lora = Peft()
    done = convert_adapter(lora.write(tmp_path / "style"), base, tmp_path / "a.gguf")
    assert (done.n_pairs, done.ranks) == (14, (4,))
    assert done.n_bytes == sum(array.nbytes for array in lora.arrays.values())
    with GgufFile.open(tmp_path / "a.gguf") as file:
        assert file.get_str("general.type") == "adapter"
        assert file.get_str("general.architecture") == "llama"
        assert file.get_str("general.name") == "style"
        assert file.get_str("adapter.type") == "lora"
        assert file.get_float("adapter.lora.alpha") == 10.0
        module = f"{PREFIX}model.layers.1.self_attn.k_proj"
        a, b = (lora.arrays[f"{module}.lora_{half}.weight"] for half in "AB")
        assert np.array_equal(tensor(file, "blk.1.attn_k.weight.lora_a"), a)
        expected = b[interleave(16, 2)]
        assert np.array_equal(tensor(file, "blk.1.attn_k.weight.lora_b"), expected)


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank-stabilised": {"use_rslora": True},
    "patterns": {"alpha_pattern": {"q_proj": 3, "mlp.up_proj": 0.1, "embed_tokens": 2}},
    "odd alpha": {"lora_alpha": 7.3},
}


@pytest.mark.parametrize("case", CASES)
def test_merging_the_file_gives_what_merging_the_folder_gives(
    case: str, base: Path, tmp_path: Path
) -> None:
    lora = Peft(adapter_config(**CASES[case]))
    rng = np.random.default_rng(2)
    module = f"{PREFIX}model.embed_tokens"
    lora.arrays[f"{module}.lora_embedding_A"] = rng.standard_normal((4, N_PIECES)).astype("f")
    lora.arrays[f"{module}.lora_embedding_B"] = rng.standard_normal((32, 4)).astype("f")
    folder = lora.write(tmp_path / "lora")
    convert_adapter(folder, base, tmp_path / "a.gguf")
    merge_adapters(base, [folder], tmp_path / "x.gguf", outtype="f32")
    merge_adapters(base, [tmp_path / "a.gguf"], tmp_path / "y.gguf", outtype="f32")
    with GgufFile.open(tmp_path / "x.gguf") as x, GgufFile.open(tmp_path / "y.gguf") as y:
        for name in x.tensors:
            assert np.abs(tensor(x, name) - tensor(y, name)).max() < 5e-6, name


def test_one_alpha_with_the_rest_multiplied_in(base: Path, tmp_path: Path) -> None:
    lora = Peft(adapter_config(use_rslora=True, alpha_pattern={"q_proj": 5}))
    convert_adapter(lora.write(tmp_path / "lora"), base, tmp_path / "a.gguf")
    with GgufAdapter.open(tmp_path / "a.gguf") as adapter:
        assert {pair.scale for pair in adapter.pairs.values()} == {10 / math.sqrt(4)}
        b = tensor(adapter.file, "blk.0.attn_q.weight.lora_b")
        stored = lora.arrays[f"{PREFIX}model.layers.0.self_attn.q_proj.lora_B.weight"]
        assert np.array_equal(b, stored[interleave(32, 4)] * np.float32(0.5))


def test_any_form_of_the_base_will_do(base: Path, tmp_path: Path) -> None:
    lora = Peft().write(tmp_path / "lora")
    convert_checkpoint(base, tmp_path / "base.gguf", outtype="q8_0")
    (tmp_path / "shape").mkdir()
    (tmp_path / "shape" / "config.json").write_bytes((base / "config.json").read_bytes())
    digests = []
    for source in (base, tmp_path / "base.gguf", tmp_path / "shape"):
        convert_adapter(lora, source, tmp_path / "a.gguf")
        with GgufFile.open(tmp_path / "a.gguf") as file:
            digests.append(file.get_str(NORMS_KEY, None))
            assert len(file.tensors) == 28
    assert digests[0] == digests[1] is not None
    assert digests[2] is None


def test_adapters_in_half_precision(base: Path, tmp_path: Path) -> None:
    lora = Peft(dtype="F16")
    lora.arrays = {
        name: array.astype(np.float16).astype(np.float32) for name, array in lora.arrays.items()
    }
    convert_adapter(lora.write(tmp_path / "lora"), base, tmp_path / "a.gguf")
    with GgufFile.open(tmp_path / "a.gguf") as file:
        expected = lora.arrays[f"{PREFIX}model.layers.0.mlp.up_proj.lora_A.weight"]
        assert np.array_equal(tensor(file, "blk.0.ffn_up.weight.lora_a"), expected)


def test_progress_is_told(base: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    lora = Peft(arrays=pairs(config(), targets=("q_proj",))).write(tmp_path / "lora")
    convert_adapter(lora, base, tmp_path / "a.gguf", progress=lambda *call: calls.append(call))
    assert [name for name, _, _ in calls] == ["blk.0.attn_q.weight", "blk.1.attn_q.weight"]
    assert calls[-1][1] == calls[-1][2]
