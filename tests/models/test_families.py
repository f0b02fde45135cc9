"""Every family of models against `transformers`, through what tools/golden_logits.py stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from families import FAMILIES, IDS, write_family
from model_table import PATH, architecture_name, parsed
from numpy.typing import NDArray

from pyllama_rt.config import LoadConfig
from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.gguf_config import divisor_tensors
from pyllama_rt.models.registry import architecture, architecture_of_hf

Report = Callable[[str, str, float], None]

GOLDEN = Path(__file__).with_name("golden")


def rows_of(path: Path, ids: list[int] = IDS) -> NDArray[np.float32]:
    config = LoadConfig(kv_type="f32", n_ctx=64)  # as short as the original of LongRoPE
    with load_model(path, config) as model, Session(model) as session:
        return session.eval(ids, all_logits=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_equals_transformers(tmp_path: Path, name: str, report: Report) -> None:
    convert_checkpoint(write_family(name, tmp_path / "m"), tmp_path / "m.gguf", outtype="f32")
    wanted = np.load(GOLDEN / f"{name}.npz")["rows"]
    got = rows_of(tmp_path / "m.gguf")
    difference = np.abs(got - wanted).max()
    report(name, "transformers", float(difference))
    assert difference < 1e-4
    assert (got.argmax(axis=1) == wanted.argmax(axis=1)).all()


def comparable(cfg: TransformerConfig) -> TransformerConfig:
    """A config without what GGUF keeps as tensors, its numbers as rounded as those of the file."""

    def rounded(value: float) -> float:
        return float(np.float32(value))

    rope = cfg.rope
    if rope is not None:
        rope = replace(rope, divisors=(), short_divisors=(), long_divisors=())
        rope = replace(rope, magnitude=rounded(rope.magnitude), base=rounded(rope.base))
    scale = rounded(cfg.attention_scale())
    return replace(cfg, rope=rope, norm_eps=rounded(cfg.norm_eps), query_scale=scale)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_file_holds_the_config_and_the_tensors(
    tmp_path: Path, name: str, report: Report
) -> None:
    convert_checkpoint(write_family(name, tmp_path / "m"), tmp_path / "m.gguf", outtype="f32")
    arch = architecture_of_hf(FAMILIES[name]["architectures"])
    wanted = arch.from_hf(JsonMetadata(FAMILIES[name], "config.json"))
    with GgufFile.open(tmp_path / "m.gguf") as file:
        found = architecture(file.get_str("general.architecture")).from_gguf(file)
        for tensor, values in divisor_tensors(wanted).items():
            stored = np.frombuffer(file.tensor_data(tensor), "<f4")
            assert np.array_equal(stored, np.array(values, np.float32))
    same = comparable(found) == comparable(wanted)
    report(name, "gguf", 0.0 if same else 1.0)
    assert same


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_quantised_families_stay_near(tmp_path: Path, name: str, kind: str) -> None:
    convert_checkpoint(write_family(name, tmp_path / "m"), tmp_path / "m.gguf", outtype=kind)
    wanted, got = np.load(GOLDEN / f"{name}.npz")["rows"], rows_of(tmp_path / "m.gguf")
    error = float(((got - wanted) ** 2).sum() / (wanted**2).sum())
    assert error < {"q8_0": 5e-3, "q4_0": 0.3}[kind]


def test_the_page_names_every_family_and_what_was_found() -> None:
    rows = parsed(PATH.read_text(encoding="utf-8"))
    assert list(rows) == list(FAMILIES)
    for name, (arch, hf_name, transformers, peer, gguf) in rows.items():
        assert arch == f"`{architecture_name(name)}`"
        assert hf_name == FAMILIES[name]["architectures"][0]
        assert float(transformers.removeprefix("< ")) <= 1e-4
        assert float(peer.removeprefix("< ")) <= 1e-4
        assert gguf == "equal"
