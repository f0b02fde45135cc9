from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
FILE = "docs/cli.md"
GENERATOR = """from generated_file import write_or_check
raise SystemExit(write_or_check("docs/cli.md", "one\\ntwo\\n"))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with the real checker and a small generator in place of a real one."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("check_generated.py", "generated_file.py"):
        shutil.copy(TOOLS / name, tools)
    (tools / "generate_cli_docs.py").write_text(GENERATOR, encoding="utf-8")
    return tmp_path


def check(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(tree / "tools/check_generated.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_missing_file_fails_and_fix_writes_it(tree: Path) -> None:
    assert check(tree, FILE).returncode == 1
    assert check(tree, "--fix", FILE).returncode == 0
    assert (tree / FILE).read_bytes() == b"one\ntwo\n"
    assert check(tree, FILE).returncode == 0


def test_stale_file_fails_and_shows_the_difference(tree: Path) -> None:
    check(tree, "--fix", FILE)
    (tree / FILE).write_text("one\n2\n", encoding="utf-8")
    done = check(tree, FILE)
    assert done.returncode == 1
    assert "-2" in done.stdout.splitlines()
    assert "+two" in done.stdout.splitlines()
    assert f"{FILE}: not what tools/generate_cli_docs.py writes" in done.stdout
    assert (tree / FILE).read_text(encoding="utf-8") == "one\n2\n"


def test_failing_generator_fails(tree: Path) -> None:
    check(tree, "--fix", FILE)
    (tree / "tools/generate_cli_docs.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    assert check(tree, FILE).returncode == 1


def test_absent_generator_fails(tree: Path) -> None:
    assert check(tree).returncode == 1


def test_unknown_file_is_refused(tree: Path) -> None:
    done = check(tree, "docs/unknown.md")
    assert done.returncode == 2
    assert "not generated: docs/unknown.md" in done.stderr
