"""What this machine offers, and what the engine would use of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pyllama_rt import _core, env


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """One set of kernels in this build."""

    name: str
    is_supported: bool
    is_selected: bool


def instruction_sets() -> list[InstructionSet]:
    """All that this build has, best first.

    Raises: ConfigError if the environment forces one that is unknown or that this CPU lacks.
    """
    selected = _core.selected_isa(env.forced_isa() or "")
    return [
        InstructionSet(name, _core.isa_supported(name), name == selected)
        for name in _core.isa_names()
    ]


def default_threads() -> int:
    """Threads when none are asked for: physical cores in the affinity mask and cgroup quota."""
    return _core.default_threads()


def allowed_processors() -> int:
    """Logical processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str | None:
    """The processor's own name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return None
