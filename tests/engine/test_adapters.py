"""LoRA adapters while a model runs, against adapters that were merged into it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adapters import Peft, family_adapter
from checkpoints import HuggingFace
from families import FAMILIES, IDS, weights
from numpy.typing import NDArray

from pyllama_rt.config import LoadConfig, LoraConfig
from pyllama_rt.convert import convert_adapter, convert_checkpoint, merge_adapters
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.errors import ConfigError, FormatError, UnsupportedError

PLAIN = LoadConfig(kv_type="f32", n_ctx=64)
FAMILY = "qwen2"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A base, an adapter for it, another, and the base with both merged in."""
    before = weights(FAMILIES[FAMILY])
    base = HuggingFace(FAMILIES[FAMILY], before, "F32").write(tmp_path / "m")
    one = family_adapter(FAMILY, before)[0]
    two = family_adapter(FAMILY, before)[0]
    two.arrays = {name: -0.5 * array[::-1].copy() for name, array in two.arrays.items()}
    found = {"base": tmp_path / "base.gguf", "merged": tmp_path / "merged.gguf"}
    convert_checkpoint(base, found["base"], outtype="f32")
    folders = [lora.write(tmp_path / f"lora{i}") for i, lora in enumerate((one, two))]
    for i, folder in enumerate(folders):
        found[f"lora{i}"] = tmp_path / f"lora{i}.gguf"
        convert_adapter(folder, base, found[f"lora{i}"])
    merge_adapters(base, folders, found["merged"], outtype="f32")
    return found


def rows(path: Path, *loras: LoraConfig) -> NDArray[np.float32]:
    config = replace(PLAIN, loras=loras)
    with load_model(path, config) as model, Session(model) as session:
        return session.eval(IDS, all_logits=True)


def test_equals_the_merged_model(files: dict[str, Path]) -> None:
    both = [LoraConfig(str(files[f"lora{i}"])) for i in range(2)]
    got, wanted, plain = rows(files["base"], *both), rows(files["merged"]), rows(files["base"])
    assert np.abs(wanted - plain).max() > 0.1
    assert np.abs(got - wanted).max() < 1e-4


def test_a_scale_of_zero_changes_nothing_and_of_minus_one_undoes(files: dict[str, Path]) -> None:
    plain, path = rows(files["base"]), str(files["lora0"])
    assert np.array_equal(rows(files["base"], LoraConfig(path, 0.0)), plain)
    up, down = (rows(files["base"], LoraConfig(path, scale)) for scale in (1e-3, -1e-3))
    assert np.abs(up + down - 2 * plain).max() < 1e-2 * np.abs(up - plain).max() + 1e-5


def test_adapters_are_exchanged_while_the_model_is_loaded(files: dict[str, Path]) -> None:
    lora = LoraConfig(str(files["lora0"]))
    plain, adapted = rows(files["base"]), rows(files["base"], lora)
    with load_model(files["base"], PLAIN) as model, Session(model) as session:
        assert np.array_equal(session.resume(IDS), plain[-1])
        model.set_loras([lora])
        assert model.loras == (lora,)
        assert np.array_equal(session.resume(IDS), adapted[-1])
        session.truncate(10)
        model.set_loras([])
        assert np.array_equal(session.eval(IDS[10:])[-1], plain[-1])
        with pytest.raises(ConfigError, match="No such file"):
            model.set_loras([LoraConfig("absent.gguf")])
        assert not model.loras
        assert np.array_equal(session.resume(IDS[:5]), plain[4])


def test_what_does_not_fit_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    lora = LoraConfig(str(files["lora0"]))
    with pytest.raises(ConfigError, match=r"lora0\.gguf: this adapter is named twice"):
        load_model(files["base"], replace(PLAIN, loras=(lora, lora)))
    with pytest.raises(FormatError, match=r"general\.type: expected 'adapter'"):
        load_model(files["base"], replace(PLAIN, loras=(LoraConfig(str(files["base"])),)))
    with pytest.raises(FormatError, match="a model, found 'adapter'"):
        load_model(files["lora0"], PLAIN)
    other = weights(FAMILIES["llama"])
    folder = HuggingFace(FAMILIES["llama"], other, "F32").write(tmp_path / "other")
    convert_checkpoint(folder, tmp_path / "other.gguf", outtype="f32")
    with pytest.raises(FormatError, match=r"general\.architecture: expected 'llama'"):
        load_model(tmp_path / "other.gguf", replace(PLAIN, loras=(lora,)))


def test_adapters_of_experts_can_only_be_merged(tmp_path: Path) -> None:
    before = weights(FAMILIES["mixtral"])
    base = HuggingFace(FAMILIES["mixtral"], before, "F32").write(tmp_path / "m")
    adapter: Peft = family_adapter("mixtral", before)[0]
    convert_checkpoint(base, tmp_path / "base.gguf", outtype="f32")
    convert_adapter(adapter.write(tmp_path / "lora"), base, tmp_path / "a.gguf")
    config = replace(PLAIN, loras=(LoraConfig(str(tmp_path / "a.gguf")),))
    with pytest.raises(UnsupportedError, match=r"changes the experts .*merge-lora"):
        load_model(tmp_path / "base.gguf", config)


@pytest.mark.parametrize(
    ("text", "path", "scale"),
    [("a.gguf", "a.gguf", 1.0), ("a.gguf:0.5", "a.gguf", 0.5), ("C:\\a.gguf", "C:\\a.gguf", 1.0)],
)
def test_names_with_and_without_a_scale(text: str, path: str, scale: float) -> None:
    assert LoraConfig.parse(text) == LoraConfig(path, scale)
    with pytest.raises(ConfigError, match="LoRA scale"):
        LoraConfig.parse("a.gguf:nan")
