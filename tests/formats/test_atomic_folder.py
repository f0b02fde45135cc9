from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pyllama_rt.errors import ConfigError, ResourceError
from pyllama_rt.formats.atomic_folder import atomic_folder


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "m"
    with atomic_folder(target) as folder:
        (folder / "a").write_bytes(b"1")
        assert not target.exists()
        assert folder.parent == tmp_path
    assert [path.name for path in tmp_path.rglob("*")] == ["m", "a"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with atomic_folder(tmp_path / "m") as folder:
        (folder / "a").write_bytes(b"1")
    assert (tmp_path / "m" / "a").read_bytes() == b"1"


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic_folder(tmp_path / "m") as folder:
            (folder / "a").write_bytes(b"1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_bytes(b"1")
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "dangling").symlink_to(tmp_path / "absent" / "x")
    for name, message in (
        ("full", "not empty"),
        ("file", "found a file"),
        ("absent/m", "does not exist"),
        ("dangling", "does not exist"),
    ):
        with pytest.raises(ConfigError, match=message), atomic_folder(tmp_path / name):
            pytest.fail("nothing may be written")
    assert (tmp_path / "full" / "a").read_bytes() == b"1"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder one cannot write")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot write into"), atomic_folder(tmp_path / "m"):
        pytest.fail("nothing may be written")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="nothing was left"), atomic_folder(tmp_path / "m"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_another_error_of_the_system_passes(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), atomic_folder(tmp_path / "m"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert not list(tmp_path.iterdir())
