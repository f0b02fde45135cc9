"""docs/models.md: the table of what every family was compared with.

`pytest -m "peer or not peer" tests/models --write-model-table` writes it after the comparisons; the
default tests check that it names every family and that none of its figures is above the bars.
"""

from __future__ import annotations

import math
from pathlib import Path

from families import FAMILIES

from pyllama_rt.models.registry import architecture_of_hf

PATH = Path(__file__).parents[1] / "docs/models.md"

HEAD = """# Models

Every architecture is one file in `pyllama_rt/models/`. Each row is a family of checkpoints; the
tests build a tiny one with random weights, convert it, and compare what it computes, and with
`pytest -m "peer or not peer" tests/models --write-model-table` they write this page.

- **transformers**: largest difference of a logit (or of a hidden state, for BERT), in F32
- **llama-cpp-python**: mean KL divergence between both programs on the same GGUF file, in F32 (for
  BERT 1 less the cosine of the embeddings)
- **GGUF**: the config read back from the file's metadata is the one of the checkpoint

| Family | `general.architecture` | Checkpoint class | transformers | llama-cpp-python | GGUF |
|---|---|---|---|---|---|
"""

NOTES = """
Published under other names with the same tensors: LLaMA 1 to 3.2, Code Llama, Vicuna, TinyLlama,
Chinese-LLaMA and Chinese-Alpaca are `llama`. Where the other program handles a window (Mistral) or
the choice of divisors (LongRoPE) differently, the comparison stays where both agree: rows that
every window shows, a context that both count as long.

Adding one: [CONTRIBUTING.md](../CONTRIBUTING.md#adding-things).
"""

Found = dict[str, dict[str, float]]
"""Figures by family and column."""


def bound(value: float) -> str:
    """The next power of ten above a figure: its digits differ from machine to machine."""
    return f"< 1e{math.floor(math.log10(max(value, 1e-16))) + 1:d}"


def text(found: Found) -> str:
    """The page."""
    rows = []
    for name, values in FAMILIES.items():
        arch, figures = values["architectures"][0], found[name]
        gguf = "equal" if figures["gguf"] == 0 else "differs"
        rows.append(
            f"| {name} | `{architecture_name(name)}` | {arch} | {bound(figures['transformers'])} | "
            f"{bound(figures['peer'])} | {gguf} |\n"
        )
    return HEAD + "".join(rows) + NOTES


def architecture_name(name: str) -> str:
    """`general.architecture` of a family."""
    return architecture_of_hf(FAMILIES[name]["architectures"]).name


def parsed(page: str) -> dict[str, list[str]]:
    """Cells by family of a page."""
    lines = [line for line in page.splitlines() if line.startswith("| ") and "---" not in line]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    return {row[0]: row[1:] for row in cells}
