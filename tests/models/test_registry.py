"""Architectures by name."""

from __future__ import annotations

import pytest

from pyllama_rt.errors import UnsupportedError
from pyllama_rt.models.registry import architecture, architecture_of_hf


def test_known_names() -> None:
    llama = architecture("llama")
    assert llama.name == "llama"
    for name in llama.hf_names:
        assert architecture_of_hf(["Other", name]) is llama


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnsupportedError, match=r"x.gguf: .*'lama'.*mean 'llama'\?\); known: llama"):
        architecture("lama", "x.gguf")
    for names in ([], ["GPT2LMHeadModel"]):
        with pytest.raises(UnsupportedError, match=r"config\.json: .* is not supported"):
            architecture_of_hf(names)
    with pytest.raises(UnsupportedError, match="did you mean 'LlamaForCausalLM'"):
        architecture_of_hf(["LlamaForCasualLM"])


def test_names_of_tensors_and_symbols_are_complete() -> None:
    llama = architecture("llama")
    names = [spec.gguf for spec in llama.tensors]
    assert len(set(names)) == len(names)
    assert all(("{i}" in spec.gguf) is ("{i}" in spec.hf) for spec in llama.tensors)
