"""`pyllama-rt merge-tokenizer` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoints import N_PIECES, sentencepiece
from command_line import call, check_refused
from shared_data import shared

from pyllama_rt.cli.app import run_command
from pyllama_rt.tokenizer.model_proto import CONTROL, NORMAL, write_model_proto

SENTENCE = "人工智能是计算机科学、心理学、哲学等学科融合的交叉学科。"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.model"
    path.write_bytes(write_model_proto(sentencepiece()))
    return path


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    path = tmp_path / "extra.model"
    pieces = [("中文", NORMAL), ("ab", NORMAL), ("abc", NORMAL), ("<x>", CONTROL)]
    path.write_bytes(write_model_proto(sentencepiece(pieces)))
    return path


def run(*arguments: object) -> int:
    return run_command(["merge-tokenizer", *map(str, arguments)])


def test_the_report_in_words(
    base: Path, extra: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, text_file = tmp_path / "out.model", tmp_path / "text"
    text_file.write_bytes("abcabc\xff".encode("latin-1"))
    assert run(base, extra, "-o", out, "--text", "abc", "--text-file", text_file) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{out}: {N_PIECES + 3} pieces, {N_PIECES} of them the base's"
    assert [line.split() for line in lines[1:3]] == [
        ["added", "3", "中文", "ab", "abc"],
        ["in", "base", "14", "▁", *"abcdefghijk", "…"],
    ]
    assert "not taken         3  of type control" in lines
    assert lines[-2].split() == ["tokens", "4", "->", "2", "(-50%)", "abc"]
    assert lines[-1].split()[:4] == ["tokens", "8", "->", "4"]
    assert out.exists()


def test_the_report_as_json(
    base: Path, extra: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(base, extra, "-o", tmp_path / "out", "--text", "abc", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n_pieces"], report["n_base"]) == (N_PIECES + 3, N_PIECES)
    assert report["added"] == ["中文", "ab", "abc"]
    assert report["duplicates"] == list("▁abcdefghijklm")
    assert report["not_taken"] == {"unknown": 1, "control": 3, "byte": 256}
    assert report["texts"] == [{"text": "abc", "tokens_before": 4, "tokens_after": 2}]


def test_what_cannot_be_merged(base: Path, tmp_path: Path) -> None:
    done = call("merge-tokenizer", base, tmp_path / "absent", "-o", tmp_path / "out")
    check_refused(done, "absent", "cannot open")
    done = call("merge-tokenizer", base, base, "-o", base)
    check_refused(done, "replace its own input")


def test_the_figures_of_chinese_llama(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = shared("tokenizers/llama")
    extra = shared("tokenizers/chinese-llama/chinese_sp.model")
    assert run(base, extra, "-o", tmp_path / "out", "--text", SENTENCE) == 0
    text = capsys.readouterr().out
    assert "49,953 pieces, 32,000 of them the base's" in text
    assert "35 -> 16 (-54%)" in text
