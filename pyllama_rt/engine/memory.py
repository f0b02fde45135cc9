"""How much memory a load will need, and how much there is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyllama_rt.errors import ResourceError

_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes that a loaded model takes, full cache included.

    weights stay mapped from the file, and the system may drop and read them again; cache and
    scratch are the process's own.
    """

    weights: int
    cache: int
    scratch: int

    def __str__(self) -> str:
        parts = (("weights", self.weights), ("cache", self.cache), ("scratch", self.scratch))
        return ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in parts)


def available_bytes() -> int | None:
    """Bytes that this process could still take, or None where the system does not say."""
    found = [n for n in (_system_available(), *map(_cgroup_available, _CGROUP_FILES)) if n]
    return min(found, default=None)


def _system_available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def _cgroup_available(files: tuple[str, str]) -> int | None:
    try:
        limit, used = (int(Path(f).read_text(encoding="ascii")) for f in files)
    except (OSError, ValueError):  # no such file, or the limit is the word "max"
        return None
    return max(limit - used, 0)


def check_memory(need: MemoryNeed, source: object) -> None:
    """Raises ResourceError if cache and scratch memory do not fit what is available."""
    have = available_bytes()
    if have is not None and need.cache + need.scratch > have:
        raise ResourceError(
            f"{source}: not enough memory: {need}; {have / 2**20:.1f} MiB are available; "
            "ask for a smaller context (--ctx, n_ctx) or a smaller n_batch"
        )
