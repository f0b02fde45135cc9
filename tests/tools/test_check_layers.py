from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RunTool = Callable[..., "subprocess.CompletedProcess[str]"]
Plant = Callable[[str, str], Path]

CLEAN = {
    "pyllama_rt/__init__.py": "",
    "pyllama_rt/errors.py": "",
    "pyllama_rt/formats/__init__.py": "",
    "pyllama_rt/formats/gguf.py": "from pyllama_rt.errors import FormatError\n",
    "pyllama_rt/engine/__init__.py": "",
    "pyllama_rt/engine/load.py": "import numpy\nfrom pyllama_rt import _core\n"
    "from pyllama_rt.formats import gguf\nfrom pyllama_rt.models import registry\n",
    "pyllama_rt/models/__init__.py": "",
    "pyllama_rt/models/llama.py": "",
    "pyllama_rt/models/registry.py": "def find():\n    from pyllama_rt.models import llama\n",
    "pyllama_rt/cli/run.py": "def main():\n    from pyllama_rt.engine import load\n",
    "csrc/core/errors.h": "#pragma once\n#include <string>\n",
    "csrc/backends/backend.h": '#include "graph/ir.h"\n',
    "csrc/runtime/executor.cpp": '#include "backends/backend.h"\n#include "core/errors.h"\n',
    "csrc/bindings/module.cpp": "#include <pybind11/pybind11.h>\n",
}

VIOLATIONS = {
    "sideways import": (
        "pyllama_rt/formats/bad.py",
        "from pyllama_rt.models.llama import build\n",
        "pyllama_rt/formats/bad.py:1: formats imports pyllama_rt.models.llama",
    ),
    "upward relative import": (
        "pyllama_rt/formats/bad.py",
        "from ..engine import load\n",
        "formats imports pyllama_rt.engine.load",
    ),
    "extension outside quant and engine": (
        "pyllama_rt/models/bad.py",
        "import pyllama_rt._core\n",
        "models imports pyllama_rt._core",
    ),
    "import inside a function": (
        "pyllama_rt/engine/bad.py",
        "class A:\n    def f(self):\n        import pyllama_rt.formats.gguf\n",
        "bad.py:3: pyllama_rt.formats.gguf is imported inside a function",
    ),
    "circle": (
        "pyllama_rt/models/llama.py",
        "from pyllama_rt.models import registry\n",
        "pyllama_rt.models.llama -> pyllama_rt.models.registry",
    ),
    "folder without a row": ("pyllama_rt/misc/a.py", "", "layer 'misc' has no row"),
    "tests in the package": (
        "pyllama_rt/cli/bad.py",
        "import tests.helpers\n",
        "the package imports tests",
    ),
    "C++ include upwards": (
        "csrc/core/bad.h",
        '#include "runtime/executor.h"\n',
        'csrc/core/bad.h:1: core includes "runtime/executor.h"',
    ),
    "runtime past backend.h": (
        "csrc/runtime/bad.cpp",
        '#  include "backends/cpu/matmul.h"\n',
        'runtime includes "backends/cpu/matmul.h"',
    ),
    "include from nowhere": (
        "csrc/core/bad.h",
        '#include "errors.h"\n',
        "does not start with a folder",
    ),
    "headers in a circle": (
        "csrc/core/bad.h",
        '#include "core/bad.h"\n',
        "core/bad.h -> core/bad.h",
    ),
    "pybind11 outside bindings": (
        "csrc/runtime/bad.h",
        "#include <pybind11/numpy.h>\n",
        "csrc/runtime/bad.h:1: pybind11 is named outside",
    ),
    "C++ folder without a row": ("csrc/misc/a.h", "", "folder 'misc' has no row"),
}


@pytest.fixture
def clean_tree(plant: Plant) -> Path:
    for path, text in CLEAN.items():
        root = plant(path, text)
    return root


def test_clean_tree_passes(run_tool: RunTool, clean_tree: Path) -> None:
    done = run_tool("check_layers.py", "--root", clean_tree)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", VIOLATIONS)
def test_planted_violation_is_found(
    name: str, run_tool: RunTool, clean_tree: Path, plant: Plant
) -> None:
    path, text, message = VIOLATIONS[name]
    plant(path, text)
    done = run_tool("check_layers.py", "--root", clean_tree)
    assert done.returncode == 1
    assert message in done.stdout
    assert len(done.stdout.splitlines()) == 1
