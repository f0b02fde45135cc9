from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RunTool = Callable[..., "subprocess.CompletedProcess[str]"]
Plant = Callable[[str, str], Path]


def python_function(n_lines: int) -> str:
    return "def long_one():\n" + "    x = 1\n" * (n_lines - 1)


def cpp_function(n_lines: int, head: str = "int long_one(int x) {") -> str:
    return f"{head}\n" + "    x += '{' + 1'000;  // }\n" * (n_lines - 2) + "}\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pyllama_rt/a.py", python_function(60)),
        ("pyllama_rt/b.py", "x = 1\n" * 400),
        ("csrc/core/a.cpp", "namespace plrt {\n" + cpp_function(60) + cpp_function(60) + "}\n"),
        ("csrc/core/b.h", "\n" * 400),
        ("csrc/core/table.cpp", "const int kTable[] = {\n" + "1,\n" * 100 + "f(2)};\n"),
        ("docs/long.md", "word\n" * 1000),
    ],
)
def test_within_limits(path: str, text: str, run_tool: RunTool, plant: Plant) -> None:
    done = run_tool("size_report.py", "--root", plant(path, text))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("pyllama_rt/a.py", python_function(61), "a.py:long_one: 61 lines, at most 60"),
        ("tests/b.py", "x = 1\n" * 401, "tests/b.py: 401 lines, at most 400"),
        ("csrc/core/a.cpp", cpp_function(61), "a.cpp:long_one: 61 lines, at most 60"),
        ("csrc/core/b.h", "\n" * 401, "csrc/core/b.h: 401 lines, at most 400"),
    ],
)
def test_over_the_limit(
    path: str, text: str, message: str, run_tool: RunTool, plant: Plant
) -> None:
    done = run_tool("size_report.py", "--root", plant(path, text))
    assert done.returncode == 1
    assert message in done.stdout


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ("template <typename T, std::enable_if_t<(sizeof(T) > 2), int> = 0>\nvoid f(T t) {", "f"),
        ("Pool::Pool(int n) : size_(n), work_{n} {", "Pool::Pool"),
        ("Pool::Pool(int n)\n    : size_{n} {", "Pool::Pool"),
        ("std::vector<int> g(std::vector<int> a = {}) const noexcept {", "g"),
        ("bool operator==(const A& a, const A& b) {", "operator=="),
        ("namespace { struct A { auto h() -> int override {", "h"),
    ],
)
def test_cpp_heads(head: str, name: str, run_tool: RunTool, plant: Plant) -> None:
    text = cpp_function(70, head) + ("}; }\n" if "struct" in head else "")
    done = run_tool("size_report.py", "--root", plant("csrc/core/a.cpp", "int x;\n" + text))
    n_lines = 70 + head.count("\n")
    assert done.stdout.splitlines()[-1] == f"csrc/core/a.cpp:{name}: {n_lines} lines, at most 60"


def test_change_since_a_revision(run_tool: RunTool, plant: Plant) -> None:
    root = plant("tools/a.py", "x = 1\n" * 10)
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    plant("tools/a.py", "x = 1\n" * 13)
    plant("csrc/core/b.h", "\n" * 5)
    done = run_tool("size_report.py", "--root", root, "--base", "HEAD")
    rows = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines()}
    assert rows == {"folder": "change", "tools": "+3", "csrc/core": "+5", "total": "+8"}
