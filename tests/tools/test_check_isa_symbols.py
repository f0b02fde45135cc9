from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RunTool = Callable[..., "subprocess.CompletedProcess[str]"]

COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = pytest.mark.skipif(
    COMPILER is None or shutil.which("nm") is None, reason="needs a C++ compiler and nm"
)

CLEAN = """
namespace plrt { namespace avx2 {
struct Table { virtual ~Table() = default; int rows = 0; };
int dot(int a, int b) { return a * b; }
template <class T> T twice(T x) { return x + x; }
template int twice<int>(int);
Table& table() { static Table only; return only; }
} }
namespace { int hidden() { return 1; } }
int (*volatile keep)() = nullptr;
"""
SHARED_INLINE = """
namespace std_like { inline int shared(int x) { return x; } }
namespace plrt { namespace avx2 { int dot(int a) { return std_like::shared(a); } } }
"""
OTHER_ISA = "namespace plrt { namespace scalar { int dot(int a) { return a; } } }\n"
C_NAME = 'extern "C" int plrt_dot(int a) { return a; }\n'


def build(folder: Path, isa: str, source: str) -> Path:
    """Compiles one kernel source to where CMake would put its object."""
    assert COMPILER is not None
    target = folder / f"csrc/kernels/CMakeFiles/plrt_{isa}.dir/{isa}/table.cpp.o"
    target.parent.mkdir(parents=True)
    code = folder / f"{isa}.cpp"
    code.write_text(source, encoding="utf-8")
    subprocess.run([COMPILER, "-c", "-O0", str(code), "-o", str(target)], check=True)
    return folder


def test_own_namespace_passes(tmp_path: Path, run_tool: RunTool) -> None:
    source = CLEAN.replace("int (*volatile keep)() = nullptr;", "")
    done = run_tool("check_isa_symbols.py", build(tmp_path, "avx2", source))
    assert (done.returncode, done.stdout) == (0, "1 objects of avx2: 0 foreign symbols\n")


@pytest.mark.parametrize(
    ("source", "symbol"),
    [
        (CLEAN, "keep"),
        (SHARED_INLINE, "shared"),
        (OTHER_ISA, "plrt::scalar::dot"),
        (C_NAME, "plrt_dot"),
    ],
)
def test_foreign_symbol_fails(source: str, symbol: str, tmp_path: Path, run_tool: RunTool) -> None:
    build(tmp_path, "scalar", OTHER_ISA)
    done = run_tool("check_isa_symbols.py", build(tmp_path, "avx2", source))
    assert done.returncode == 1
    assert "table.cpp.o (avx2): exports" in done.stdout
    assert symbol in done.stdout
    assert "2 objects of avx2, scalar: 1 foreign symbols" in done.stdout


def test_nothing_to_check_fails(tmp_path: Path, run_tool: RunTool) -> None:
    assert run_tool("check_isa_symbols.py", tmp_path).returncode == 2
