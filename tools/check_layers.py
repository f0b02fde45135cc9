"""Fails where an import or include goes against the one-way layers of the project.

usage: check_layers.py [--root FOLDER]

Rules, for both languages: a layer uses only the layers that its row names, and no group of files
uses one another in a circle. Python: no import of our own modules inside a function, except where
FUNCTION_IMPORTS says why; these do not count for circles. C++: only csrc/bindings names pybind11.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = "pyllama_rt"
EXTENSION = f"{PACKAGE}._core"
ROOT_LAYER = "__init__"

LEAVES = {"errors", "config", "env", "metadata", "small_file", "closing"}
MODEL_SIDE = {*LEAVES, "formats", "tokenizer", "graph", "models", "quant", "chat"}

PYTHON_LAYERS: dict[str, set[str]] = {
    "errors": set(),
    "env": set(),
    "closing": set(),
    "config": {"errors"},
    "metadata": {"errors"},
    "small_file": {"errors"},
    "_core": set(),
    "formats": LEAVES,
    "tokenizer": LEAVES,
    "graph": LEAVES,
    "models": {*LEAVES, "graph"},
    "quant": {*LEAVES, "formats", "_core"},
    "chat": {*LEAVES, "tokenizer"},
    "engine": {*MODEL_SIDE, "_core"},
    "convert": {*LEAVES, "formats", "models", "quant", "tokenizer"},
    "evaluate": {*MODEL_SIDE, "engine", "convert"},
    "compat": {*LEAVES, "engine", "chat", "tokenizer", "formats"},
    "cli": {*MODEL_SIDE, "engine", "convert", "evaluate", "compat", ROOT_LAYER},
    ROOT_LAYER: {*LEAVES, "compat"},
    "__main__": {"cli"},
}
"""Layer (a module or folder of the package) -> the layers that it may import, besides itself."""

FUNCTION_IMPORTS = {
    "pyllama_rt/__init__.py": "the engine is loaded when Llama is asked for",
    "pyllama_rt/cli/": "a subcommand loads what it needs when it is called",
    "pyllama_rt/models/registry.py": "one architecture is imported, by the name in the file",
    "pyllama_rt/tokenizer/registry.py": "one algorithm, and its library, is imported likewise",
}
"""Files, or folders ending in /, that may import our own modules inside functions."""

CPP_LAYERS: dict[str, set[str]] = {
    "core": set(),
    "quant": {"core"},
    "graph": {"core"},
    "kernels": {"core"},
    "backends": {"core", "quant", "graph", "kernels"},
    "runtime": {"core", "graph", "backends/backend.h"},
    "bindings": {"core", "quant", "graph", "kernels", "backends", "runtime"},
}
"""Folder of csrc -> the folders, or single headers, that it may include, besides itself."""

GENERATED_HEADERS = {"isa_list.inc"}
"""Headers that CMake writes into the build folder of the folder which includes them."""

CPP_SUFFIXES = {".h", ".cpp", ".inc", ".def", ".cu"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
BINDING_LIBRARY = re.compile(r"pybind11", re.IGNORECASE)


class Edge(NamedTuple):
    """One import or include: where it stands and the file that it names."""

    source: str
    line: int
    target: str
    in_function: bool = False


def python_files(root: Path) -> dict[str, str]:
    """Module name -> path relative to `root`, for every module of the package."""
    modules = {}
    for path in sorted((root / PACKAGE).rglob("*.py*")):
        if path.suffix not in {".py", ".pyi"}:
            continue
        relative = path.relative_to(root)
        parts = relative.with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = relative.as_posix()
    return modules


def imported_names(node: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Absolute dotted names that an import statement names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = module.split(".")
            kept = len(parts) - node.level + (1 if is_package else 0)
            base = ".".join([*parts[:kept], *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)


def nodes_with_function(tree: ast.AST, inside: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below `tree`, and whether it stands inside a function."""
    for child in ast.iter_child_nodes(tree):
        yield child, inside
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from nodes_with_function(child, inside or is_function)


def owner(name: str, modules: dict[str, str]) -> str:
    """The module that a dotted name belongs to: itself or the nearest known one above it."""
    while name not in modules and name != EXTENSION and "." in name:
        name = name.rpartition(".")[0]
    return name


def python_edges(root: Path, modules: dict[str, str]) -> Iterator[Edge]:
    """Every import of one of our own modules by another."""
    for module, path in modules.items():
        tree = ast.parse((root / path).read_text(encoding="utf-8"), path)
        for node, in_function in nodes_with_function(tree):
            is_package = path.endswith("/__init__.py")
            for name in imported_names(node, module, is_package):
                target = owner(name, modules)
                if target.split(".")[0] in {PACKAGE, "tests", "tools"} and target != module:
                    yield Edge(module, getattr(node, "lineno", 0), target, in_function)


def python_layer(module: str) -> str:
    """The row of PYTHON_LAYERS that a module falls under."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ROOT_LAYER


def check_python(root: Path) -> Iterator[str]:
    """One line per violation in the package."""
    modules = python_files(root)
    edges = list(python_edges(root, modules))
    for module, path in modules.items():
        if python_layer(module) not in PYTHON_LAYERS:
            yield f"{path}: layer {python_layer(module)!r} has no row in PYTHON_LAYERS"
    for edge in edges:
        where = f"{modules[edge.source]}:{edge.line}"
        if not edge.target.startswith(PACKAGE):
            yield f"{where}: the package imports {edge.target}, which is not shipped with it"
            continue
        source, target = python_layer(edge.source), python_layer(edge.target)
        allowed = PYTHON_LAYERS.get(source, set())
        if source != target and target not in allowed:
            yield f"{where}: {source} imports {edge.target}; it may import {listed(allowed)}"
        if edge.in_function and not modules[edge.source].startswith(tuple(FUNCTION_IMPORTS)):
            yield f"{where}: {edge.target} is imported inside a function; move it to the top"
    at_import = [edge for edge in edges if not edge.in_function]
    for circle in circles(at_import):
        yield f"modules import one another: {' -> '.join(circle)}"


def check_cpp(root: Path) -> Iterator[str]:
    """One line per violation in csrc."""
    source_root = root / "csrc"
    edges = []
    for path in sorted(p for p in source_root.rglob("*") if p.suffix in CPP_SUFFIXES):
        name = path.relative_to(source_root).as_posix()
        layer = name.split("/")[0]
        if layer not in CPP_LAYERS:
            yield f"csrc/{name}: folder {layer!r} has no row in CPP_LAYERS"
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found = INCLUDE.match(line)
            if found and found[1] not in GENERATED_HEADERS:
                edges.append(Edge(name, number, found[1]))
                yield from check_include(edges[-1], CPP_LAYERS[layer], layer)
            if layer != "bindings" and BINDING_LIBRARY.search(line):
                yield f"csrc/{name}:{number}: pybind11 is named outside csrc/bindings"
    for circle in circles(edges):
        yield f"headers include one another: {' -> '.join(circle)}"


def check_include(edge: Edge, allowed: set[str], layer: str) -> Iterator[str]:
    """One line if `edge` leaves its layer for one that it may not use."""
    where = f"csrc/{edge.source}:{edge.line}"
    target = edge.target.split("/")[0]
    if target not in CPP_LAYERS:
        yield f'{where}: "{edge.target}" does not start with a folder of csrc; write it from there'
    elif target != layer and target not in allowed and edge.target not in allowed:
        yield f'{where}: {layer} includes "{edge.target}"; it may include {listed(allowed)}'


def listed(names: set[str]) -> str:
    """The names in words."""
    return ", ".join(sorted(names)) or "nothing of ours"


def circles(edges: list[Edge]) -> Iterator[list[str]]:
    """One path per circle, found by depth-first search from each file in turn."""
    graph: dict[str, list[str]] = {}
    for edge in edges:
        graph.setdefault(edge.source, []).append(edge.target)
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> Iterator[list[str]]:
        if name in trail:
            yield [*trail[trail.index(name) :], name]
        elif name not in done:
            for target in sorted(set(graph.get(name, []))):
                yield from visit(target, [*trail, name])
            done.add(name)

    for name in sorted(graph):
        yield from visit(name, [])


def main() -> int:
    """Prints every violation; 1 if there is one."""
    parser = argparse.ArgumentParser(description="One-way imports and includes.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    root = parser.parse_args().root
    violations = [*check_python(root), *check_cpp(root)]
    for line in violations:
        print(line)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
