"""Adapters with bytes changed at random: merged, or refused by a typed error without output."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from adapters import Peft, pairs
from checkpoints import HuggingFace, config

from pyllama_rt.convert import convert_adapter, merge_adapters
from pyllama_rt.errors import PyllamaRtError

N_MUTANTS = 60


def mutate(data: bytes, n_head: int, rng: random.Random) -> bytes:
    """A few bytes of the head changed, or the end cut off."""
    mutant = bytearray(data)
    if rng.random() < 0.2:
        return bytes(mutant[: rng.randrange(len(mutant))])
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(n_head)
        digits = b'0123456789-.e"{}[],'
        mutant[at] = rng.choice([0, 255, mutant[at] ^ 0x80, rng.choice(digits), rng.randrange(256)])
    return bytes(mutant)


@pytest.mark.parametrize(
    "name", ["adapter_config.json", "adapter_model.safetensors", "adapter.gguf"]
)
def test_mutants_are_merged_or_refused(name: str, tmp_path: Path, fuzz_rounds: int) -> None:
    base = HuggingFace().write(tmp_path / "base")
    lora = Peft(arrays=pairs(config(), targets=("q_proj",))).write(tmp_path / "lora")
    convert_adapter(lora, base, lora / "adapter.gguf")
    good = (lora / name).read_bytes()
    n_head = min(len(good), 1100)
    out = tmp_path / "out"
    out.mkdir()
    messages = []
    for seed in range(N_MUTANTS * fuzz_rounds):
        (lora / name).write_bytes(mutate(good, n_head, random.Random(seed)))
        try:
            merge_adapters(base, [lora / name if name.endswith("gguf") else lora], out / "x.gguf")
        except PyllamaRtError as error:
            messages.append(str(error))
            assert not list(out.iterdir()), seed
        (out / "x.gguf").unlink(missing_ok=True)
    print(f"{len(messages)} of {N_MUTANTS * fuzz_rounds} refused")
    assert len(messages) > N_MUTANTS // 5
    assert not any("\n" in message for message in messages)
