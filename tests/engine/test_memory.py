"""Available memory, read from made-up /proc and /sys."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tiny_llama import write_tiny_llama

from pyllama_rt.config import LoadConfig
from pyllama_rt.engine import memory
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.memory import MemoryNeed, available_bytes, check_memory
from pyllama_rt.errors import ResourceError

MIB = 1 << 20
MEMINFO = {"proc/meminfo": "MemTotal: 16384000 kB\nMemFree: 1 kB\nMemAvailable: 8192000 kB\n"}


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


def v2(group: str, limit: object, used: int, inactive: int = 0, active: int = 0) -> dict[str, str]:
    folder = f"sys/fs/cgroup{group}"
    stat = f"anon 5\nfile {inactive + active}\ninactive_file {inactive}\nactive_file {active}\n"
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": stat,
    }


def test_the_machine_alone(tmp_path: Path) -> None:
    assert available_bytes(system(tmp_path, MEMINFO)) == 8192000 * 1024


def test_nothing_is_known_where_there_is_no_proc(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")
def test_this_machine_says() -> None:
    found = available_bytes()
    assert found is not None
    assert found > 0


def test_pages_of_files_do_not_count_as_used(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", **MEMINFO}
    files |= v2("", 1000 * MIB, 990 * MIB, inactive=300 * MIB, active=600 * MIB)
    assert available_bytes(system(tmp_path, files)) == 910 * MIB


def test_the_tightest_group_up_to_the_root_counts(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/a.slice/b.scope\n", **MEMINFO}
    files |= v2("/a.slice/b.scope", "max", 10 * MIB)
    files |= v2("/a.slice", 500 * MIB, 100 * MIB, inactive=30 * MIB)
    files |= v2("", 5000 * MIB, 100 * MIB)
    files |= v2("/other", 1 * MIB, 0)
    assert available_bytes(system(tmp_path, files)) == 430 * MIB


def test_a_group_whose_folder_is_out_of_sight(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/docker/0123\n", **v2("", 70 * MIB, 50 * MIB)}
    assert available_bytes(system(tmp_path, files)) == 20 * MIB


def test_version_1(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/memory/jobs/one"
    files = {
        **MEMINFO,
        "proc/self/cgroup": "9:cpu,cpuacct:/other\n4:hugetlb,memory:/jobs/one\n0::/\n",
        f"{folder}/memory.limit_in_bytes": f"{100 * MIB}\n",
        f"{folder}/memory.usage_in_bytes": f"{95 * MIB}\n",
        f"{folder}/memory.stat": f"inactive_file 7\ntotal_inactive_file {20 * MIB}\n"
        f"total_active_file {40 * MIB}\n",
    }
    assert available_bytes(system(tmp_path, files)) == 65 * MIB


def test_a_full_group_leaves_nothing(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", **MEMINFO, **v2("", 100 * MIB, 101 * MIB)}
    assert available_bytes(system(tmp_path, files)) == 0


@pytest.mark.parametrize("text", ["", "max", "-1 x", "\xff", "one two\nthree", "0::"])
def test_unreadable_numbers_are_left_out(text: str, tmp_path: Path) -> None:
    files = {"proc/self/cgroup": text, "proc/meminfo": text, "sys/fs/cgroup/memory.max": text}
    assert available_bytes(system(tmp_path, files)) is None


def test_memory_is_checked_before_it_is_taken() -> None:
    with pytest.raises(ResourceError, match=r"cache 1048576\.0 MiB.*smaller context"):
        check_memory(MemoryNeed(weights=0, cache=1 << 40, scratch=0, logits=0), "m.gguf")
    check_memory(MemoryNeed(weights=1 << 50, cache=0, scratch=0, logits=0), "m.gguf")


def test_logits_of_every_row_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiny_llama(tmp_path / "m.gguf").path
    config = LoadConfig(n_ctx=1000, n_batch=100, n_threads=1)
    with load_model(path, config) as model:
        row = 4 * model.n_vocab
        last, every = model.memory_need(), model.memory_need(all_logits=True)
    assert last.logits == row
    assert every.logits == (100 + 1000) * row
    assert every.scratch >= last.scratch
    monkeypatch.setattr(memory, "available_bytes", lambda: (last.own + every.own) // 2)
    load_model(path, config).close()
    with pytest.raises(ResourceError, match=r"not enough memory: .*logits 1"):
        load_model(path, config, all_logits=True)
