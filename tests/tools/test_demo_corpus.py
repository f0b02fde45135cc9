from __future__ import annotations

import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

RunTool = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_seed_gives_the_text_that_the_demo_model_learnt(
    tmp_path: Path, run_tool: RunTool
) -> None:
    out = tmp_path / "corpus.jsonl"
    done = run_tool("demo_model/corpus.py", out, 2000, 0)
    assert done.returncode == 0, done.stderr
    assert (
        hashlib.sha256(out.read_bytes()).hexdigest()
        == "34e98d0c58f64f424a2f1ec2878457a5c7da4071cbb94f653acc10dc2952c29b"
    )


def test_text_files_are_cut_into_passages(tmp_path: Path, run_tool: RunTool) -> None:
    play = tmp_path / "play.txt"
    play.write_text("x" * 3100, encoding="utf-8")
    out = tmp_path / "corpus.jsonl"
    run_tool("demo_model/corpus.py", out, 10, 1, play)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert Counter(len(row["text"]) for row in rows if row["kind"] == "text") == {1500: 2, 100: 1}
    assert len(rows) == 13
