"""Renders one chat template in a process of its own, which may be killed at any time.

A template comes with a model file and is a program: Jinja's immutable sandbox keeps it from
reaching Python, this process keeps it from using up the machine. It is run as a script, not as
part of the package, so that it starts fast. One JSON object a line comes in and one goes out:
first `{"path", "source"}`, then one object of template variables per rendering. The answer is
`{"text"}`, or `{"error", "line", "message"}`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

CPU_SECONDS = 1.0
MEMORY_BYTES = 256 << 20
OUTPUT_CHARS = 4 << 20

Reply = dict[str, object]


class _RaisedError(Exception):
    """What a template's own `raise_exception` raises."""


class _OutputError(Exception):
    """The text grew past its limit."""


def main() -> None:
    """Answers requests until stdin closes."""
    setup = json.loads(sys.stdin.buffer.readline())
    sys.path[:] = setup["path"]
    # Imported before memory is limited and time is counted.
    for name in ("jinja2.ext", "jinja2.sandbox"):
        importlib.import_module(name)
    # Ctrl-C is for the program that asked; it ends this process if it must.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory()
    template: list[Template] = []

    def compile_template() -> str:
        template.append(_compile(setup["source"]))
        return ""

    _answer(compile_template)
    for line in sys.stdin.buffer:
        _answer(functools.partial(_render, template[0], json.loads(line)))


def _compile(source: str) -> Template:
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class GenerationBlock(Extension):
        """`{% generation %}` marks what a model is trained on; the text inside stays as it is."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    # The same settings as Hugging Face transformers, for which templates are written.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", GenerationBlock],
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(source)


def _render(template: Template, variables: dict[str, Any]) -> str:
    parts: list[str] = []
    size = 0
    for part in template.generate(**variables):
        size += len(part)
        if size > OUTPUT_CHARS:
            raise _OutputError
        parts.append(part)
    return "".join(parts)


def _answer(work: Callable[[], str]) -> None:
    try:
        with _cpu_limit():
            reply: Reply = {"text": work()}
    except BaseException as error:
        reply = _error_reply(error)
    sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
    sys.stdout.buffer.flush()


def _error_reply(error: BaseException) -> Reply:
    from jinja2.exceptions import SecurityError, TemplateSyntaxError

    kind = "render"
    for name, types in (
        ("raised", _RaisedError),
        ("output", _OutputError),
        ("memory", MemoryError),
        ("depth", RecursionError),
        ("security", SecurityError),
        ("syntax", TemplateSyntaxError),
    ):
        if isinstance(error, types):
            kind = name
            break
    line = error.lineno if isinstance(error, TemplateSyntaxError) else _line_of(error)
    return {"error": kind, "line": line, "message": str(error)[:500]}


def _line_of(error: BaseException) -> int | None:
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Not Jinja's own filter, which escapes for HTML.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise(message: object) -> None:
    raise _RaisedError(str(message))


@contextlib.contextmanager
def _cpu_limit() -> Iterator[None]:
    """The default action of SIGPROF ends the process, wherever it is; Windows has no such timer."""
    if sys.platform == "win32":
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _limit_memory() -> None:
    """Limits the address space where the system can (macOS ignores it, Windows has none)."""
    if sys.platform == "win32":
        return
    import resource

    with contextlib.suppress(OSError, ValueError):
        # What Python itself maps differs widely between systems and does not count.
        with open("/proc/self/statm", encoding="ascii") as statm:
            own = int(statm.read().split()[0]) * resource.getpagesize()
        limit = own + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (0, 0))


if __name__ == "__main__":
    main()
