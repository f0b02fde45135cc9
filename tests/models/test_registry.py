"""Architectures by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_metadata import FakeMetadata
from families import FAMILIES

from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.errors import UnsupportedError
from pyllama_rt.models import registry
from pyllama_rt.models.registry import architecture, architecture_of_hf


def test_known_names() -> None:
    llama = architecture("llama")
    assert llama.name == "llama"
    for name in llama.hf_names:
        assert architecture_of_hf(["Other", name]) is llama


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnsupportedError, match=r"x.gguf: .*'lama'.*mean 'llama'\?\); known: bert"):
        architecture("lama", "x.gguf")
    for names in ([], ["MambaForCausalLM"]):
        with pytest.raises(UnsupportedError, match=r"config\.json: .* is not supported"):
            architecture_of_hf(names)
    with pytest.raises(UnsupportedError, match="did you mean 'LlamaForCausalLM'"):
        architecture_of_hf(["LlamaForCasualLM"])


@pytest.mark.parametrize("family", FAMILIES)
def test_names_of_tensors_and_symbols_are_complete(family: str) -> None:
    values = FAMILIES[family]
    arch = architecture_of_hf(values["architectures"])
    cfg = arch.from_hf(JsonMetadata(values, "config.json"))
    tensors = arch.tensors(cfg)
    names = [spec.gguf for spec in tensors]
    assert len(set(names)) == len(names)
    assert all(("{i}" in spec.gguf) is ("{i}" in spec.hf) for spec in tensors)
    assert all(size > 0 for spec in tensors for size in map(cfg.sizes(0).get, spec.shape) if size)
    assert {symbol for spec in tensors for symbol in spec.shape} <= set(cfg.sizes(0))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_survives_gguf(family: str) -> None:
    values = FAMILIES[family]
    arch = architecture_of_hf(values["architectures"])
    cfg = arch.from_hf(JsonMetadata(values, "config.json"))
    keys = {**arch.metadata(cfg), "tokenizer.ggml.tokens": ["a"] * cfg.vocab_size}
    found = arch.from_gguf(FakeMetadata(keys))
    divisors: dict[str, Any] = {"divisors": (), "short_divisors": (), "long_divisors": ()}
    rope = None if cfg.rope is None else replace(cfg.rope, **divisors)  # these become tensors
    scale = found.attention_scale()
    assert scale == pytest.approx(cfg.attention_scale(), rel=1e-7)
    assert replace(found, query_scale=0) == replace(cfg, rope=rope, query_scale=0)


def test_an_architecture_is_a_small_file() -> None:
    folder = Path(registry.__file__).parent
    files = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
    sizes = sorted(len(text.splitlines()) for text in files if "\nregister(" in text)
    assert len(sizes) >= len({values["architectures"][0] for values in FAMILIES.values()}) - 2
    assert sizes[len(sizes) // 2] <= 120
