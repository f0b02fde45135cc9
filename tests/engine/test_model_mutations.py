"""Damaged models load and run, or are refused with a typed error; nothing else, and cheaply.

The mutants are loaded by model_mutants.py in a process that may take 2 GiB of addresses, so that
nothing that a file declares can size memory. `--fuzz-rounds 160` makes a million.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from gguf_craft import tiny_llama
from model_mutants import mutant_model, small_blocks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of a process need POSIX")

TESTS = Path(__file__).parents[1]
SCRIPT = TESTS / "model_mutants.py"
N_MUTANTS = 6_000


def run(first: int, count: int, folder: Path) -> Counter[str]:
    """Outcomes of the mutants of these seeds."""
    search = [str(TESTS), *sys.path]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(first), str(count), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(search)},
        capture_output=True,
        text=True,
        timeout=120 + count // 20,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Counter(json.loads(done.stdout))


def test_mutants(fuzz_rounds: int, tmp_path: Path) -> None:
    for number in range(fuzz_rounds):
        outcomes = run(number * N_MUTANTS, N_MUTANTS, tmp_path)
        assert outcomes.total() == N_MUTANTS
        # Damage that is always refused, or never, would test only one side.
        assert outcomes["ran"] > N_MUTANTS // 30
        assert outcomes["NumericsError"] > N_MUTANTS // 50
        assert outcomes["FormatError"] > N_MUTANTS // 4
        assert outcomes["UnsupportedError"] > 0


def test_mutants_differ_and_repeat() -> None:
    crafts = [small_blocks(), tiny_llama(n_vocab=24)]
    files = [mutant_model(crafts, seed) for seed in range(200)]
    assert files == [mutant_model(crafts, seed) for seed in range(200)]
    assert len(set(files)) > 180
