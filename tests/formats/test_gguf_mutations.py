"""Damaged files either open or are refused with a typed error: quickly, and in little memory.

The default run is 10,000 mutants; `--fuzz-rounds 100` makes a million, with seeds of their own.
"""

from __future__ import annotations

import os
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
from gguf_craft import F16, Q8_0, Craft, Tensor, all_types, number, tiny_llama
from gguf_mutate import mutant
from timing import cpu_s

from pyllama_rt.errors import FormatError, UnsupportedError
from pyllama_rt.formats.gguf import GgufFile

N_MUTANTS = 10_000
MAX_PARSE_S = 0.1


def aligned() -> Craft:
    """A file with an alignment key and many small tensors."""
    keys = {"general.alignment": number(4, 64)}
    tensors = [Tensor(f"blk.{i}.w", [32, i + 1], bytes(34 * (i + 1)), Q8_0) for i in range(8)]
    return Craft(keys, [*tensors, Tensor("one", [1], b"ab", F16)], alignment=64)  # type: ignore[arg-type]


BASES: tuple[Callable[[], Craft], ...] = (all_types, aligned, all_types, tiny_llama)


def outcome(path: Path) -> str:
    """Open the file and look at all of it: "opened", or the class of the typed error."""
    try:
        with GgufFile.open(path) as file:
            for key in file.metadata:
                try:
                    file.metadata[key]
                except FormatError:  # text that is not UTF-8, a bool that is 2
                    continue
            for name, info in file.tensors.items():
                assert file.tensor_data(name).nbytes == info.n_bytes
    except (FormatError, UnsupportedError) as error:
        message, result = str(error), type(error).__name__
    else:
        return "opened"
    assert "\n" not in message
    assert len(message) < len(str(path)) + 400
    return result


def run(path: Path, files: Iterable[bytes]) -> Counter[str]:
    """Outcomes of all files; fails on any other exception and on any that takes long."""
    outcomes: Counter[str] = Counter()
    for data in files:
        path.unlink(missing_ok=True)  # some file systems flush a file that is cut and rewritten
        path.write_bytes(data)
        start = time.process_time()  # not the wall clock: a busy machine is no fault of the file
        outcomes[outcome(path)] += 1
        if time.process_time() - start >= MAX_PARSE_S:  # the file, or somebody else?
            assert cpu_s(partial(outcome, path)) < MAX_PARSE_S, data[:200]
    return outcomes


@pytest.mark.parametrize("base", BASES)
def test_the_undamaged_files_open(base: Callable[[], Craft], tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(base().build())
    assert outcome(tmp_path / "m.gguf") == "opened"


def test_mutants(fuzz_rounds: int, tmp_path: Path) -> None:
    crafts = [base() for base in BASES]
    n_mutants = N_MUTANTS * fuzz_rounds
    seeds = range(n_mutants)
    files = (mutant(crafts[seed % len(crafts)], seed) for seed in seeds)
    outcomes = run(tmp_path / "m.gguf", files)
    assert outcomes.total() == n_mutants
    # Damage that is always refused, or never, would test only one side.
    assert outcomes["opened"] > n_mutants // 20
    assert outcomes["FormatError"] > n_mutants // 4
    assert outcomes["UnsupportedError"] > 0


def test_mutants_differ_and_repeat() -> None:
    craft = all_types()
    files = [mutant(craft, seed) for seed in range(200)]
    assert files == [mutant(craft, seed) for seed in range(200)]
    assert len(set(files)) > 190


def test_cut_at_every_byte(tmp_path: Path) -> None:
    craft = all_types()
    data = craft.build()
    n_head = sum(map(len, craft.head()))
    ends = {*range(1, n_head + 1)}
    with GgufFile.open(_written(tmp_path, data)) as file:
        for info in file.tensors.values():
            for boundary in (info.offset, info.offset + info.n_bytes):
                ends |= {boundary - 1, boundary, boundary + 1}
    cut = sorted(end for end in ends if end < len(data))
    outcomes = run(tmp_path / "m.gguf", (data[:end] for end in cut))
    assert outcomes == {"FormatError": len(cut)}


@pytest.mark.parametrize(
    "change", [lambda _: 0, lambda _: 0xFF, lambda byte: byte ^ 0x80, lambda byte: (byte + 1) % 256]
)
def test_every_byte_changed(change: Callable[[int], int], tmp_path: Path) -> None:
    craft = all_types()
    data = craft.build()

    def files() -> Iterable[bytes]:
        for index in range(sum(map(len, craft.head()))):
            changed = bytearray(data)
            changed[index] = change(data[index])
            yield bytes(changed)

    outcomes = run(tmp_path / "m.gguf", files())
    assert outcomes["FormatError"] > 100
    assert outcomes["opened"] > 100


def test_memory_stays_near_the_size_of_the_metadata(tmp_path: Path) -> None:
    crafts = [base() for base in BASES]
    path = tmp_path / "m.gguf"
    tracemalloc.start()
    try:
        for seed in range(N_MUTANTS, N_MUTANTS + 400):
            data = mutant(crafts[seed % len(crafts)], seed)
            path.write_bytes(data)
            tracemalloc.clear_traces()
            outcome(path)
            assert tracemalloc.get_traced_memory()[1] <= 4 * len(data) + (1 << 20), seed
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_refused_files_leave_nothing_open(tmp_path: Path) -> None:
    def held() -> tuple[int, int]:
        maps = Path("/proc/self/maps").read_text()
        return len(os.listdir("/proc/self/fd")), maps.count(".gguf")

    before = held()
    craft = all_types()
    run(tmp_path / "m.gguf", (mutant(craft, seed) for seed in range(300)))
    assert held() == before


def _written(folder: Path, data: bytes) -> Path:
    path = folder / "whole.gguf"
    path.write_bytes(data)
    return path
