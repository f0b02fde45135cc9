"""Reading files at hostile paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyllama_rt.errors import ConfigError, FormatError
from pyllama_rt.small_file import read_small_file


def test_the_limit_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abcd")
    assert read_small_file(path, 4) == b"abcd"
    with pytest.raises(FormatError, match="x: size: expected up to 3 bytes, found more"):
        read_small_file(path, 3)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="found a directory"):
        read_small_file(tmp_path, 9)
    with pytest.raises(ConfigError, match="absent: cannot open the file"):
        read_small_file(tmp_path / "absent", 9)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_devices_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FormatError, match="found a named pipe"):
        read_small_file(tmp_path / "fifo", 9)
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(FormatError, match="found a device"):
        read_small_file(tmp_path / "zero", 9)
