"""Fails where a kernel object exports a symbol outside the namespace of its instruction set.

usage: check_isa_symbols.py BUILD_FOLDER

Kernels are compiled with the flags of their instruction set. If such an object also carries shared
inline code, `std::vector` for one, the linker may keep that copy for the whole library, which then
crashes on older processors. So every global or weak symbol of csrc/kernels/<isa>/ has to be in the
namespace plrt::<isa>.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OBJECT_SUFFIXES = {".o", ".obj"}


def isa_of(path: Path) -> str | None:
    """The instruction set of an object file: the folder below `kernels` in its source's path."""
    parts = [p for p in path.parts if p != "CMakeFiles" and not p.endswith(".dir")]
    if "kernels" not in parts[:-2]:
        return None
    at = len(parts) - 1 - parts[::-1].index("kernels")
    return parts[at + 1] if at + 1 < len(parts) - 1 else None


def kernel_objects(build: Path) -> dict[Path, str]:
    """Object file -> instruction set, for every kernel object of a build folder."""
    objects = {}
    for path in sorted(p for p in build.rglob("*") if p.suffix in OBJECT_SUFFIXES):
        isa = isa_of(path.relative_to(build))
        if isa is not None:
            objects[path] = isa
    return objects


def foreign_symbols(path: Path, isa: str) -> Iterator[str]:
    """Mangled names that the object exports outside plrt::<isa>."""
    command = ["nm", "-g", "--defined-only", "-P", str(path)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    special = r"(?:GV|GR|TV|TT|TI|TS|TC|TH|TW)?"
    own = re.compile(rf"^_?_Z{special}N[rVKRO]*4plrt{len(isa)}{re.escape(isa)}")
    for line in listing.splitlines():
        name = line.split()[0]
        if not own.match(name):
            yield name


def demangled(name: str) -> str:
    """The name as written in the source, where c++filt is at hand."""
    if shutil.which("c++filt") is None:
        return name
    return subprocess.run(["c++filt", name], check=True, capture_output=True, text=True).stdout[:-1]


def main() -> int:
    """Prints every foreign symbol; 1 if there is one, 2 if nothing could be checked."""
    if len(sys.argv) != 2 or shutil.which("nm") is None:
        print("usage: check_isa_symbols.py BUILD_FOLDER (needs the program nm)")
        return 2
    objects = kernel_objects(Path(sys.argv[1]))
    if not objects:
        print(f"{sys.argv[1]}: no objects of csrc/kernels/<isa>/ below; build the extension first")
        return 2
    n_foreign = 0
    for path, isa in objects.items():
        for name in foreign_symbols(path, isa):
            n_foreign += 1
            print(f"{path.name} ({isa}): exports {demangled(name)}, outside plrt::{isa}")
    names = ", ".join(sorted(set(objects.values())))
    print(f"{len(objects)} objects of {names}: {n_foreign} foreign symbols")
    return 1 if n_foreign else 0


if __name__ == "__main__":
    sys.exit(main())
