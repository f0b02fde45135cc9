from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import FOLDER

from pyllama_rt.errors import ConfigError, ResourceError
from pyllama_rt.formats.atomic_file import atomic_file, same_file

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    return path


def only(target: Path) -> bytes:
    """The contents of `target`, which must be alone in its folder."""
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    return target.read_bytes()


def test_replaces_in_one_step(target: Path) -> None:
    with atomic_file(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
    assert only(target) == b"new"


def test_new_file(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "out.bin") as file:
        file.write(b"new")
    assert only(tmp_path / "out.bin") == b"new"


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(1)])
def test_any_exception_leaves_the_old_file(error: BaseException, target: Path) -> None:
    def fail() -> None:
        with atomic_file(target) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert only(target) == b"old"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EIO])
def test_full_disk(code: int, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ResourceError, match="cannot write the file"), atomic_file(target) as file:
        file.write(b"half")
    assert only(target) == b"old"


@posix
def test_file_size_limit(target: Path) -> None:
    """A real failing write, in a process whose files may not grow beyond 10,000 bytes."""
    code = f"""
import resource
from pyllama_rt.errors import ResourceError
from pyllama_rt.formats.atomic_file import atomic_file
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with atomic_file({str(target)!r}) as file:
        file.write(bytes(1_000_000))
except ResourceError as error:
    print(error)
"""
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, check=True
    )
    assert "cannot write the file" in output.stdout
    assert only(target) == b"old"


@posix
def test_killed_writer_leaves_the_old_file(target: Path) -> None:
    code = f"""
from pyllama_rt.formats.atomic_file import atomic_file
with atomic_file({str(target)!r}) as file:
    file.write(bytes(1_000_000))
    print("ready", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert target.read_bytes() == b"old"


def test_folder_missing(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"the folder .* does not exist"),
        atomic_file(tmp_path / "no" / "out.bin"),
    ):
        pass


def test_destination_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found a folder"), atomic_file(tmp_path):
        pass


@posix
def test_devices_and_pipes_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="only a regular file"), atomic_file(tmp_path / "fifo"):
        pass
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(target: Path) -> None:
    target.parent.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="cannot write into"), atomic_file(target):
            pass
    finally:
        target.parent.chmod(0o700)


def test_failing_create_is_one_line(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ConfigError, match=r"cannot write into .*: Permission denied"):
        atomic_file(target).__enter__()


def test_failing_replace_is_one_line(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "in use")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ConfigError, match="cannot replace the file: in use"), atomic_file(target):
        pass
    assert only(target) == b"old"


@posix
def test_a_link_stays_a_link(target: Path) -> None:
    folder = target.parent / "links"
    folder.mkdir()
    link = folder / "link.bin"
    link.symlink_to(target)
    with atomic_file(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@posix
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "out.bin"):
            pass
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "out.bin").stat().st_mode) == 0o640


@posix
def test_permissions_of_the_old_file_stay(target: Path) -> None:
    target.chmod(0o640)
    with atomic_file(target) as file:
        file.write(b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_impossible_names_are_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot"), atomic_file(tmp_path / name):
        pass
    assert not list(tmp_path.iterdir())


def test_same_file(target: Path) -> None:
    other = target.parent / "other.bin"
    other.write_bytes(b"old")
    assert same_file(target, target.parent / "." / target.name)
    assert not same_file(target, other)
    assert not same_file(target, target.parent / "absent")
    assert same_file(target.parent / "absent", target.parent / "x" / ".." / "absent")


@posix
def test_same_file_by_links(target: Path) -> None:
    soft, hard = target.parent / "soft", target.parent / "hard"
    soft.symlink_to(target)
    os.link(target, hard)
    assert same_file(soft, target)
    assert same_file(target, hard)
