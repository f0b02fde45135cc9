"""Writes what `transformers` computes for a tiny checkpoint of every family of models.

usage: golden_logits.py [FAMILY...]

The results lie in tests/models/golden/ and are what tests/models/test_families.py compares with;
the families and their weights are in tests/families.py. Needs torch and transformers.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests/models/golden"
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from families import FAMILIES, IDS, write_family  # noqa: E402 - the path is set above


def golden(name: str) -> np.typing.NDArray[np.float32]:
    """Logits (rows, vocabulary), or hidden states (rows, dim) of models that give embeddings."""
    is_bert = FAMILIES[name]["architectures"] == ["BertModel"]
    auto = transformers.AutoModel if is_bert else transformers.AutoModelForCausalLM
    with tempfile.TemporaryDirectory() as folder:
        path = write_family(name, Path(folder) / name)
        model, found = auto.from_pretrained(
            path, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
    missing = [key for key in found["missing_keys"] if not key.startswith("pooler.")]
    assert not missing, missing
    assert not found["unexpected_keys"], found["unexpected_keys"]
    with torch.no_grad():
        result = model.eval()(torch.tensor([IDS]))
    rows = result.last_hidden_state if is_bert else result.logits
    return np.asarray(rows[0].numpy(), np.float32)


def main() -> int:
    """Writes one file a family."""
    GOLDEN.mkdir(exist_ok=True)
    for name in sys.argv[1:] or FAMILIES:
        rows = golden(name)
        np.savez_compressed(GOLDEN / f"{name}.npz", rows=rows)
        print(f"{name}: {rows.shape}, largest {np.abs(rows).max():.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
