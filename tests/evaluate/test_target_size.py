"""Files of a wanted size."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_llama import TinyLlama, write_tiny_llama

from pyllama_rt.convert import plan_file, quantize_file
from pyllama_rt.convert.type_options import read_type_options
from pyllama_rt.errors import ConfigError
from pyllama_rt.evaluate import target_size
from pyllama_rt.evaluate.sensitivity import Losses
from pyllama_rt.evaluate.target_size import SizeTarget, choose_types
from pyllama_rt.evaluate.windows import WindowConfig
from pyllama_rt.formats.tensor_types import tensor_type

TEXT = "".join(np.random.default_rng(5).choice(list("abcdefghijklm "), 200))
CONFIG = WindowConfig(n_ctx=32, limit=2)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyLlama:
    return write_tiny_llama(tmp_path_factory.mktemp("m") / "f16.gguf", "f16")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses by the type alone, but that the head counts a thousand times as much."""

    def losses(_: object, options: Mapping[str, Collection[str]], *__: Any, **___: Any) -> Losses:
        return {
            name: {
                t: (1000 if name == "output.weight" else 1) * 4.0 ** -tensor_type(t).bits_per_weight
                for t in types
            }
            for name, types in options.items()
        }

    monkeypatch.setattr(target_size, "measure_losses", losses)


def test_a_file_of_the_wanted_size(tiny: TinyLlama, tmp_path: Path) -> None:
    """With what is measured, not told."""
    wanted = plan_file(tiny.path, "q4_k_m").n_bytes + 20_000
    chosen = choose_types(tiny.path, SizeTarget(n_bytes=wanted), TEXT, config=CONFIG)
    plan = quantize_file(tiny.path, tmp_path / "out.gguf", chosen.types)
    assert wanted - 20_000 < (tmp_path / "out.gguf").stat().st_size <= wanted
    assert {t.name: t.type.name for t in plan.tensors if t.name in chosen.types} == chosen.types
    assert len(set(chosen.types.values())) > 1
    assert 0 < chosen.kl < 0.1


@pytest.mark.usefixtures("told")
def test_bits_go_where_they_count(tiny: TinyLlama) -> None:
    chosen = choose_types(tiny.path, SizeTarget(bits_per_weight=4.5), TEXT)
    assert chosen.types["output.weight"] in ("q8_0", "f16")
    plan = plan_file(tiny.path, chosen.types)
    assert 4.4 < plan.bits_per_weight <= 4.5
    assert plan.mix.file_type in (10, 12, 15, 30)


@pytest.mark.usefixtures("told")
def test_a_large_target_leaves_the_weights_as_they_are(tiny: TinyLlama) -> None:
    chosen = choose_types(tiny.path, SizeTarget(n_bytes=1 << 40), TEXT)
    assert set(chosen.types.values()) == {"f16"}


@pytest.mark.usefixtures("told")
def test_types_that_are_given_stay(tiny: TinyLlama) -> None:
    target = SizeTarget(bits_per_weight=4.5)
    chosen = choose_types(tiny.path, target, TEXT, tensor_types=["ffn_gate=q5_1"])
    assert chosen.types["blk.0.ffn_gate.weight"] == "q5_1"
    assert plan_file(tiny.path, chosen.types).bits_per_weight <= 4.5


def test_targets_that_are_too_small(tiny: TinyLlama) -> None:
    options = read_type_options(tiny.path)
    least = options.least + options.rest_bytes
    assert SizeTarget(n_bytes=least).room(options) == options.least
    with pytest.raises(ConfigError, match=f"{least - 1:,} bytes; expected at least {least:,}"):
        choose_types(tiny.path, SizeTarget(n_bytes=least - 1), TEXT)
    with pytest.raises(ConfigError, match=r"2 bits per weight; expected at least 2\.6"):
        choose_types(tiny.path, SizeTarget(bits_per_weight=2), TEXT)


@pytest.mark.parametrize("values", [{}, {"n_bytes": 1, "bits_per_weight": 2}])
def test_one_of_two(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="one of the two"):
        SizeTarget(**values)
