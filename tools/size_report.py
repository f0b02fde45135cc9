"""Prints the size of every folder; fails on functions over 60 lines and files over 400.

usage: size_report.py [--root FOLDER] [--base REVISION]

With --base, the totals also show the change since that git revision. What must be longer is named
in LONGER with the reason; a row that is no longer needed fails too.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MAX_FUNCTION = 60
MAX_FILE = 400

LONGER: dict[str, str] = {}
"""`path` or `path:function` -> why it has to be longer than the limit."""

FOLDERS = ("benchmarks", "csrc", "pyllama_rt", "tests", "tools")
CPP_SUFFIXES = {".h", ".cpp", ".inc", ".def", ".cu", ".metal"}
GENERATED = {"pyllama_rt/_core.pyi"}


class Function(NamedTuple):
    """Name, first line and number of lines of one function."""

    name: str
    line: int
    n_lines: int


class Size(NamedTuple):
    """Totals of one folder."""

    files: int
    lines: int
    functions: int
    longest_file: int
    longest_function: int


def python_functions(text: str) -> Iterator[Function]:
    """Every function of a Python file, methods and nested ones included."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            last = node.end_lineno or node.lineno
            yield Function(node.name, node.lineno, last - node.lineno + 1)


NOT_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"'
    r'|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'|^[ \t]*#(?:\\\n|[^\n])*',
    re.DOTALL | re.MULTILINE,
)
FUNCTION_HEAD = re.compile(r"([~\w:]+|operator\s*\S+)\s*\(")
SCOPE_HEAD = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")
MEMBER_INITIALISER = re.compile(r"\)\s*(noexcept\s*)?:[^:].*[\w>]$", re.DOTALL)
INITIALISER = "{}"
"""Stands for the name where a brace gives a member its value, and the body is still to come."""
TEMPLATE = re.compile(r"^template\s*<[^;{}]*?>\s*(?=\w)")


def without_literals(text: str) -> str:
    """The text with comments, strings and preprocessor lines blanked, line numbers kept."""
    return NOT_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def cpp_functions(text: str) -> Iterator[Function]:
    """Every function body of a C++ file; lambdas and local classes count for what holds them.

    Braces inside parentheses (default arguments, lambdas) are balanced there and need no look. Of
    the others, one opens a body if the words before it have parentheses and no scope keyword.
    """
    code = without_literals(text)
    open_braces: list[tuple[str, int]] = []
    head_start, parentheses = 0, 0
    for found in re.finditer(r"[(){};]", code):
        at, mark = found.start(), found[0]
        if mark in "()":
            parentheses += 1 if mark == "(" else -1
            continue
        if parentheses > 0:
            continue
        head = code[head_start:at]
        if mark == "{":
            in_body = any(name not in ("", INITIALISER) for name, _ in open_braces)
            first = head_start + len(head) - len(head.lstrip())
            open_braces.append(("" if in_body else function_name(head), first))
        name, first = open_braces[-1] if open_braces and mark != ";" else ("", 0)
        if mark == "}" and open_braces:
            open_braces.pop()
            if name not in ("", INITIALISER):
                line = code.count("\n", 0, first) + 1
                yield Function(name, line, code.count("\n", first, at) + 1)
        if name != INITIALISER:
            head_start = at + 1


def function_name(head: str) -> str:
    """Name of the function whose body follows `head`, INITIALISER, or an empty string."""
    words = TEMPLATE.sub("", head.strip())
    if MEMBER_INITIALISER.search(words):
        return INITIALISER
    if SCOPE_HEAD.match(words) or "(" not in words or words.endswith(("=", "(", ",")):
        return ""
    found = FUNCTION_HEAD.search(words)
    return found[1] if found else ""


def functions_of(path: str, text: str) -> list[Function]:
    """The functions of one file."""
    return list(python_functions(text) if path.endswith(".py") else cpp_functions(text))


def is_source(path: str) -> bool:
    """Whether a file counts."""
    suffix = Path(path).suffix
    known = suffix == ".py" or suffix in CPP_SUFFIXES
    return known and path.split("/", maxsplit=1)[0] in FOLDERS and path not in GENERATED


def working_tree(root: Path) -> dict[str, str]:
    """Path -> text of every source file under `root`."""
    paths = (path for folder in FOLDERS for path in (root / folder).rglob("*") if path.is_file())
    names = ((path.relative_to(root).as_posix(), path) for path in sorted(paths))
    return {name: path.read_text(encoding="utf-8") for name, path in names if is_source(name)}


def tree_at(root: Path, revision: str) -> dict[str, str]:
    """Path -> text of every source file of a git revision."""
    command = ["git", "-C", str(root), "archive", "--format=tar", revision]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    files = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            data = tar.extractfile(member) if is_source(member.name) else None
            if data is not None:
                files[member.name] = data.read().decode("utf-8")
    return files


def violations(files: dict[str, str]) -> Iterator[str]:
    """One line per function or file over its limit, and per row of LONGER without use."""
    used = set()
    for path, text in files.items():
        too_long = {path: len(text.splitlines())} if len(text.splitlines()) > MAX_FILE else {}
        for function in functions_of(path, text):
            if function.n_lines > MAX_FUNCTION:
                too_long[f"{path}:{function.name}"] = function.n_lines
        for name, n_lines in too_long.items():
            if name in LONGER:
                used.add(name)
            else:
                limit = MAX_FILE if name == path else MAX_FUNCTION
                yield f"{name}: {n_lines} lines, at most {limit}"
    for name in sorted(set(LONGER) - used):
        yield f"{name}: is not over its limit any more; take its row out of LONGER"


def totals(files: dict[str, str]) -> dict[str, Size]:
    """Sizes by folder, two levels deep."""
    sizes: dict[str, Size] = {}
    for path, text in files.items():
        folder = "/".join(Path(path).parent.parts[:2])
        functions = functions_of(path, text)
        n_lines = len(text.splitlines())
        longest = max((function.n_lines for function in functions), default=0)
        old = sizes.get(folder, Size(0, 0, 0, 0, 0))
        sizes[folder] = Size(
            old.files + 1,
            old.lines + n_lines,
            old.functions + len(functions),
            max(old.longest_file, n_lines),
            max(old.longest_function, longest),
        )
    return sizes


def print_totals(now: dict[str, Size], before: dict[str, Size] | None) -> None:
    """The table, with the change in lines where there is something to compare with."""
    head = f"{'folder':<28}{'files':>6}{'lines':>8}{'functions':>11}{'max file':>10}{'max def':>9}"
    print(head + ("" if before is None else f"{'change':>9}"))
    for folder in sorted({*now, *(before or {})}):
        size = now.get(folder, Size(0, 0, 0, 0, 0))
        row = f"{folder:<28}{size.files:>6}{size.lines:>8}{size.functions:>11}"
        row += f"{size.longest_file:>10}{size.longest_function:>9}"
        if before is not None:
            row += f"{size.lines - (before[folder].lines if folder in before else 0):>+9}"
        print(row)
    n_lines = sum(size.lines for size in now.values())
    print(f"{'total':<28}{sum(size.files for size in now.values()):>6}{n_lines:>8}", end="")
    print("" if before is None else f"{n_lines - sum(s.lines for s in before.values()):>+39}")


def main() -> int:
    """Prints totals and violations; 1 if there is a violation."""
    parser = argparse.ArgumentParser(description="Sizes of files and functions.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--base", help="git revision to compare with")
    options = parser.parse_args()
    files = working_tree(options.root)
    before = totals(tree_at(options.root, options.base)) if options.base else None
    print_totals(totals(files), before)
    found = list(violations(files))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
