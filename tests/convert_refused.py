"""Conversions that must fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.errors import PyllamaRtError


def refused(source: Path, **options: Any) -> pytest.ExceptionInfo[PyllamaRtError]:
    """The error of a conversion that must fail and leave what was there before."""
    folder = source.parent / "out"
    folder.mkdir(exist_ok=True)
    (folder / "out.gguf").write_bytes(b"old")
    with pytest.raises(PyllamaRtError) as caught:
        convert_checkpoint(source, folder / "out.gguf", **options)
    assert [path.name for path in folder.iterdir()] == ["out.gguf"]
    assert (folder / "out.gguf").read_bytes() == b"old"
    assert "\n" not in str(caught.value)
    return caught
