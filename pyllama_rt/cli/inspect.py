"""`pyllama-rt inspect`: what a GGUF file holds."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer

from pyllama_rt.cli.file_progress import file_progress
from pyllama_rt.cli.streams import printable
from pyllama_rt.engine.load import read_memory_need
from pyllama_rt.errors import FormatError, PyllamaRtError, shown
from pyllama_rt.formats.gguf import GgufFile, TensorInfo
from pyllama_rt.quant.verify import find_damage

_MAX_SHOWN_ELEMENTS = 8
_SAMPLE = 3
"""Longer arrays, such as vocabularies, are shown by their length and first elements."""


def inspect(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A GGUF file; any part of a split one.", show_default=False
        ),
    ],
    *,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Look for damaged numbers; exit status 2 if found.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON, every tensor included.")
    ] = False,
) -> None:
    """Show what a GGUF file holds.

    Metadata, tensor types, sizes, and the memory that running it takes. The
    weights are not read, unless --verify looks at each of them.

    Examples:

      pyllama-rt inspect my-llama.gguf

      pyllama-rt inspect my-llama.gguf --tensors

      pyllama-rt inspect my-llama.gguf --json | jq .metadata

      pyllama-rt inspect downloaded.gguf --verify
    """
    with GgufFile.open(model) as file:
        report = _report(file)
        if as_json:
            print(json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False))
        else:
            _print(report, tensors)
        if verify:
            _verify(file)


def _report(file: GgufFile) -> dict[str, Any]:
    infos = list(file.tensors.values())
    n_weights = sum(prod(info.shape) for info in infos)
    n_bytes = sum(info.n_bytes for info in infos)
    return {
        "files": [str(path) for path in file.paths],
        "version": file.version,
        "file_bytes": sum(len(view) for view in file.mappings),
        "tensor_bytes": n_bytes,
        "n_weights": n_weights,
        "bits_per_weight": round(n_bytes * 8 / n_weights, 3) if n_weights else None,
        "memory": _memory(file),
        "types": _types(infos),
        "metadata": {key: _plain(file, key) for key in file.metadata},
        "tensors": [
            {
                "name": info.name,
                "shape": list(info.shape),
                "type": info.type.name,
                "bytes": info.n_bytes,
            }
            for info in infos
        ],
    }


def _memory(file: GgufFile) -> dict[str, Any]:
    """Bytes that the default context takes, or why the model cannot be run."""
    try:
        need = read_memory_need(file.path)
    except PyllamaRtError as error:
        return {"unusable": str(error)}
    return {"weights": need.weights, "cache": need.cache, "scratch": need.scratch}


def _types(infos: list[TensorInfo]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(lambda: {"tensors": 0, "bytes": 0})
    for info in infos:
        found[info.type.name]["tensors"] += 1
        found[info.type.name]["bytes"] += info.n_bytes
    return dict(found)


def _plain(file: GgufFile, key: str) -> Any:
    """A value as JSON has it; a long array becomes its type, length and first elements."""
    value = file.metadata[key]
    if not isinstance(value, list):
        return _number(value)
    if len(value) <= _MAX_SHOWN_ELEMENTS:
        return [_number(item) for item in value]
    element = file.metadata.element_type(key)
    return {
        "array": element.name.lower() if element is not None else None,
        "length": len(value),
        "first": [_number(item) for item in value[:_SAMPLE]],
    }


def _number(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _print(report: dict[str, Any], with_tensors: bool) -> None:
    for path in report["files"]:
        print(printable(path))
    bits = "" if report["bits_per_weight"] is None else f", {report['bits_per_weight']} bits each"
    print(f"GGUF v{report['version']}, {_size(report['file_bytes'])}")
    print(f"{report['n_weights']:,} weights{bits}")
    memory = report["memory"]
    if "unusable" in memory:
        print(printable(f"cannot be run here: {memory['unusable']}"))
    else:
        parts = ", ".join(f"{name} {_size(n)}" for name, n in memory.items())
        print(f"memory to run it: {_size(sum(memory.values()))} ({parts})")
    print("\nmetadata")
    rows = [(printable(key), _shown(value)) for key, value in report["metadata"].items()]
    _columns(rows)
    print("\ntensor types")
    rows = [
        (name, f"{entry['tensors']:>5} tensors  {_size(entry['bytes']):>11}")
        for name, entry in report["types"].items()
    ]
    _columns(rows)
    if with_tensors:
        print("\ntensors")
        shapes = [" x ".join(map(str, row["shape"])) for row in report["tensors"]]
        _columns(
            [
                (printable(row["name"]), f"{row['type']:6}  {shape:>16}  {row['bytes']:>14,} bytes")
                for row, shape in zip(report["tensors"], shapes, strict=True)
            ]
        )


def _columns(rows: list[tuple[str, str]]) -> None:
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print(f"  {name:{width}}  {value}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        first = ", ".join(shown(item, 20) for item in value["first"])
        return f"{value['length']:,} x {value['array']}: {first}, …"
    return shown(value, 100)


def _size(n_bytes: int) -> str:
    size, unit = float(n_bytes), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{n_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


def _verify(file: GgufFile) -> None:
    """Raises FormatError naming the damaged tensors."""
    with file_progress("Verifying") as move:
        found = list(find_damage(file, move))
    if found:
        names = ", ".join(f"{row.tensor} ({row.n_rows} rows)" for row in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise FormatError(
            f"{file.path}: {len(found)} tensors hold a NaN or an infinity: {names}{more}; "
            "get the file again or convert it anew"
        )
