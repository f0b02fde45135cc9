"""`pyllama-rt doctor`: what is installed, what this machine has, and whether the two work."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from time import perf_counter
from typing import Annotated, Any

import typer

from pyllama_rt import __version__
from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.cli.streams import printable
from pyllama_rt.errors import PyllamaRtError, StateError

_LIBRARIES = ("numpy", "sentencepiece", "tokenizers", "jinja2", "safetensors", "typer", "rich")
_GREETING = "Hello!"


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False) -> None:
    """Check this installation and this machine.

    Shows versions, processor, instruction sets (the one in use is starred),
    threads, memory and libraries, and lets the demo model say two tokens. Exit
    status 2 if something does not work.

    Examples:

      pyllama-rt doctor

      PYLLAMA_RT_ISA=scalar pyllama-rt doctor --json
    """
    report: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    problems: list[str] = []
    for name, check in (
        ("processor", _processor),
        ("instruction_sets", _instruction_sets),
        ("threads", _threads),
        ("memory_available", _memory),
        ("libraries", _libraries),
        ("demo_model", _demo_model),
    ):
        report[name] = _checked(name, check, problems)
    if as_json:
        print(json.dumps({**report, "problems": problems}, ensure_ascii=False, indent=1))
    else:
        _print(report)
    if problems:
        raise StateError("; ".join(problems))


def _checked(name: str, check: Callable[[], Any], problems: list[str]) -> Any:
    """The finding, or None with the reason among the problems."""
    try:
        return check()
    except (PyllamaRtError, ImportError, OSError) as error:
        problems.append(f"{name.replace('_', ' ')}: {error}")
        return None


def _processor() -> str:
    from pyllama_rt.engine.machine import processor_name

    return processor_name() or platform.processor() or platform.machine()


def _instruction_sets() -> list[dict[str, Any]]:
    from pyllama_rt.engine.machine import instruction_sets

    return [
        {"name": isa.name, "supported": isa.is_supported, "selected": isa.is_selected}
        for isa in instruction_sets()
    ]


def _threads() -> dict[str, Any]:
    from pyllama_rt.engine.machine import allowed_processors, default_threads

    return {
        "default": default_threads(),
        "allowed_processors": allowed_processors(),
        "processors": os.cpu_count(),
        "why": "physical cores among the allowed processors, within the cgroup quota",
    }


def _memory() -> int | None:
    from pyllama_rt.engine.memory import available_bytes

    return available_bytes()


def _libraries() -> dict[str, str | None]:
    return {name: _library_version(name) for name in _LIBRARIES}


def _library_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _demo_model() -> dict[str, Any]:
    from pyllama_rt.config import SamplingConfig
    from pyllama_rt.engine.generate import generate_text
    from pyllama_rt.engine.load import load_model
    from pyllama_rt.engine.prompts import encode_prompt
    from pyllama_rt.engine.session import Session

    started = perf_counter()
    with load_model(DEMO_MODEL) as model, Session(model) as session:
        ids = encode_prompt(model.tokenizer, _GREETING)
        greedy = SamplingConfig(temperature=0.0)
        text = "".join(c.text for c in generate_text(session, ids, greedy, max_tokens=2))
    return {
        "path": str(DEMO_MODEL),
        "bytes": DEMO_MODEL.stat().st_size,
        "says": text,
        "seconds": round(perf_counter() - started, 3),
    }


def _print(report: dict[str, Any]) -> None:
    rows = [
        ("pyllama-rt", report["version"]),
        ("Python", f"{report['python']} ({sys.executable})"),
        ("platform", report["platform"]),
        ("processor", report["processor"]),
    ]
    if (sets := report["instruction_sets"]) is not None:
        rows.append(("kernels", ", ".join(map(_isa_words, sets))))
    if (threads := report["threads"]) is not None:
        rows.append(
            (
                "threads",
                f"{threads['default']} ({threads['why']}; {threads['allowed_processors']} of "
                f"{threads['processors']} processors are allowed)",
            )
        )
    memory = report["memory_available"]
    rows.append(("memory", "unknown" if memory is None else f"{memory / 2**30:.1f} GiB available"))
    rows.append(
        (
            "libraries",
            ", ".join(f"{n} {v or 'MISSING'}" for n, v in (report["libraries"] or {}).items()),
        )
    )
    if (demo := report["demo_model"]) is not None:
        rows.append(("demo model", f"works, two tokens in {demo['seconds']} s ({demo['path']})"))
    for name, value in rows:
        print(f"{name:11} {printable(str(value))}")


def _isa_words(isa: dict[str, Any]) -> str:
    if isa["selected"]:
        return f"{isa['name']}*"
    return str(isa["name"]) if isa["supported"] else f"{isa['name']} (not on this CPU)"
