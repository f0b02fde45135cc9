"""Every family of models against `transformers`, through what tools/golden_logits.py stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from families import FAMILIES, IDS, write_family
from numpy.typing import NDArray

from pyllama_rt.config import LoadConfig
from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.engine.load import load_model
from pyllama_rt.engine.session import Session

GOLDEN = Path(__file__).with_name("golden")


def rows_of(path: Path, ids: list[int] = IDS) -> NDArray[np.float32]:
    config = LoadConfig(kv_type="f32", n_ctx=64)  # as short as the original of LongRoPE
    with load_model(path, config) as model, Session(model) as session:
        return session.eval(ids, all_logits=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_equals_transformers(tmp_path: Path, name: str) -> None:
    convert_checkpoint(write_family(name, tmp_path / "m"), tmp_path / "m.gguf", outtype="f32")
    wanted = np.load(GOLDEN / f"{name}.npz")["rows"]
    got = rows_of(tmp_path / "m.gguf")
    difference = np.abs(got - wanted).max()
    print(f"{name}: largest difference {difference:.1e} of {np.abs(wanted).max():.1f}")
    assert difference < 1e-4
    assert (got.argmax(axis=1) == wanted.argmax(axis=1)).all()
