"""How much memory a load will need, and how much there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pyllama_rt.errors import ResourceError


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes that a loaded model takes, full cache included.

    weights stay mapped from the file, and the system may drop and read them again; cache, scratch
    and logits (the rows that are handed to Python, and kept there) are the process's own.
    """

    weights: int
    cache: int
    scratch: int
    logits: int

    @property
    def own(self) -> int:
        """What the system cannot drop."""
        return self.cache + self.scratch + self.logits

    def __str__(self) -> str:
        parts = (
            ("weights", self.weights),
            ("cache", self.cache),
            ("scratch", self.scratch),
            ("logits", self.logits),
        )
        return ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in parts)


class _Controller(NamedTuple):
    """Where a version of control groups tells about memory.

    name: in /proc/self/cgroup. folder: where its groups are mounted. limit, used: files of a
    group. cache: keys of its memory.stat for pages of files, which are dropped when memory is
    short.
    """

    name: str
    folder: str
    limit: str
    used: str
    cache: tuple[str, ...]


_CONTROLLERS = (
    _Controller(
        "", "sys/fs/cgroup", "memory.max", "memory.current", ("inactive_file", "active_file")
    ),
    _Controller(
        "memory",
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
    ),
)


def available_bytes(root: Path = Path("/")) -> int | None:
    """Bytes that this process could still take, or None where the system does not say.

    Linux says, for the machine and for every control group that the process is in. macOS and
    Windows do not, so that nothing is refused in advance there.
    Args: root: the folder that holds /proc and /sys.
    """
    found = [_system_available(root)]
    for controller in _CONTROLLERS:
        found += [_group_available(group, controller) for group in _groups(root, controller)]
    return min((n for n in found if n is not None), default=None)


def _system_available(root: Path) -> int | None:
    kib = _counters(root / "proc/meminfo").get("MemAvailable:")
    return None if kib is None else kib * 1024


def _groups(root: Path, controller: _Controller) -> Iterator[Path]:
    """The folders of the process's own group and of all groups around it.

    A container may see the path of its group but not the folder; its own limit is then that of
    the topmost folder.
    """
    path = _group_path(root, controller.name)
    while True:
        yield root / controller.folder / path.lstrip("/")
        if not path.strip("/"):
            return
        path = path.rpartition("/")[0]


def _group_path(root: Path, controller: str) -> str:
    """The path of this process's group; "" names version 2."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")  # the line is "id:controller,controller:path"
        names, _, path = rest.partition(":")
        if controller in names.split(","):
            return path
    return "/"


def _group_available(group: Path, controller: _Controller) -> int | None:
    try:
        limit, used = (int(_text(group / name)) for name in (controller.limit, controller.used))
    except ValueError:  # no such file, or the limit is the word "max"
        return None
    counters = _counters(group / "memory.stat")
    used -= sum(counters.get(key, 0) for key in controller.cache)
    return max(limit - max(used, 0), 0)


def _counters(file: Path) -> dict[str, int]:
    """The numbers of a file whose lines are "name number" and maybe a unit."""
    rows = (line.split() for line in _text(file).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) >= 2 and row[1].isdecimal()}


def _text(file: Path) -> str:
    """What a file of the system holds; nothing where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def check_memory(need: MemoryNeed, source: object) -> None:
    """Raises ResourceError if what the process takes for itself does not fit what is available."""
    have = available_bytes()
    if have is not None and need.own > have:
        raise ResourceError(
            f"{source}: not enough memory: {need}; {have / 2**20:.1f} MiB are available; "
            "ask for a smaller context (--ctx, n_ctx) or a smaller n_batch"
        )
