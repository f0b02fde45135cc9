"""The picture of `pyllama-rt quality`, by what its SVG says."""

from __future__ import annotations

import re

import pytest
from quality_reports import report, row

from pyllama_rt.cli.quality_picture import draw
from pyllama_rt.cli.quality_report import Setting
from pyllama_rt.evaluate.estimate import Estimate

pytest.importorskip("matplotlib")

SETTING = Setting("m-f16.gguf", "book.txt", "a processor", "avx2", "today")
ROWS = (
    row("q2_k", 5, ratio=Estimate(1.3, 0.01), kl=Estimate(0.25, 0.01)),
    row("q4_0", 9, ratio=Estimate(1.03, 0.01), kl=Estimate(0.03, 0.001)),
    row("q4_k_m", 9.2, ratio=Estimate(1.01, 0.001), kl=Estimate(0.01, 0.001)),
    row("q8_0", 17, ratio=Estimate(1.0001, 0.001), kl=Estimate(0.001, 0.001)),
)


def test_every_level_stands_in_both_panels() -> None:
    pictures = draw(report(*ROWS), SETTING)
    assert pictures["png"].startswith(b"\x89PNG")
    text = pictures["svg"].decode()
    words = re.findall(r">([^<>]+)</text>", text)
    for name in ("q2_k", "q4_0", "q4_k_m", "q8_0"):
        assert words.count(name) == 2
    for word in ("size of the file (MiB)", "2% loss", "10% loss", "f16: perplexity 8.000"):
        assert word in words
    assert "m-f16.gguf on book.txt, 25,500 tokens scored" in words
    labels = re.findall(r'<text style="([^"]*)"[^>]*>(q\w+)</text>', text)
    bold = {name for style, name in labels if re.search(r"\b700\b", style)}
    assert bold == {"q4_k_m", "q8_0"}


def test_the_same_figures_give_the_same_file() -> None:
    assert draw(report(*ROWS), SETTING) == draw(report(*ROWS), SETTING)


def test_one_level_and_one_without_loss() -> None:
    for only in (ROWS[0], row("f16", 32)):
        assert set(draw(report(only), SETTING)) == {"svg", "png"}
