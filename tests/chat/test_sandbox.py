from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from pyllama_rt.chat import worker
from pyllama_rt.chat.worker import TemplateWorker
from pyllama_rt.errors import ConfigError, FormatError, PyllamaRtError

DEEP = "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}"
DOUBLING = (
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}"
    "{% endfor %}{{ ns.x | length }}"
)
COUNTS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


def render(source: str, **variables: object) -> str:
    one = TemplateWorker(source, "m.gguf")
    try:
        return one.render(variables)
    finally:
        one.close()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ 'a' * 300000000 }}", "line 1 needs more than 256 MiB of memory"),
        ("{{ 'a' | center(10 ** 9) }}", "line 1 needs more than 256 MiB of memory"),
        (DOUBLING, "line 1 needs more than 256 MiB of memory"),
        ("{{ 'a' * 5000000 }}", "gives more than 4 MiB of text"),
        ("{% for i in range(10 ** 9) %}a{% endfor %}", "Range too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested too deeply"),
        (DEEP, "nested too deeply"),
        ("\n{{ foo( }}", "line 2 is not valid Jinja"),
        ("\n\n{{ ''.__class__.__mro__ }}", "line 3 does what is forbidden"),
        ("{{ x.append(1) }}", "line 1 does what is forbidden"),
        ("{{ '{0.__class__.__init__.__globals__}'.format(x) }}", "does what is forbidden"),
        ("\n{{ 1 / 0 }}", "line 2 fails: 'division by zero'"),
        ("{{ missing.field }}", "line 1 fails"),
        ("{% include '/etc/passwd' %}", "line 1 fails"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_hostile(source: str, message: str) -> None:
    with pytest.raises(FormatError, match=rf"^m\.gguf: chat template.*{message}") as error:
        render(source, x=[1])
    assert "\n" not in str(error.value)


@pytest.mark.skipif(sys.platform == "win32", reason="no CPU timer on Windows")
def test_cpu_time() -> None:
    start = time.monotonic()
    with pytest.raises(FormatError, match=r"takes more than 1 s of CPU time"):
        render(COUNTS)
    assert time.monotonic() - start < worker.RENDER_SECONDS


def test_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "RENDER_SECONDS", 0.1)
    with pytest.raises(FormatError, match="took too long"):
        render(COUNTS)


def test_raise_exception() -> None:
    with pytest.raises(ConfigError, match=r"line 2 refuses the messages: 'no way'"):
        render("\n{{ raise_exception('no\nway') }}")


def test_what_templates_may_use() -> None:
    assert (
        render("{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}")
        == "1"
    )
    assert len(render("{{ strftime_now('%Y-%m-%d') }}")) == 10
    assert render("{{ x | tojson }}", x={"b": "<é>"}) == '{"b": "<é>"}'
    assert render("{{ x | tojson(indent=1) }}", x=[1]) == "[\n 1\n]"
    assert render("  {% if true %}\na\n  {% endif %}\n") == "a\n"
    assert render("{{ x }}", x="\udc80\u2028\x00") == "\udc80\u2028\x00"


def test_one_process_serves_again_and_again() -> None:
    one = TemplateWorker("{% if x == 3 %}{{ raise_exception('no') }}{% endif %}{{ x }}", "m.gguf")
    assert one.render({"x": 1}) == "1"
    first = one._process
    with pytest.raises(ConfigError):
        one.render({"x": 3})
    assert one.render({"x": 2}) == "2"
    assert one._process is first
    one.close()
    assert first is not None
    assert first.poll() is not None
    assert one.render({"x": 4}) == "4"
    one.close()


def test_recovers_after_a_costly_rendering() -> None:
    one = TemplateWorker("{{ 'a' * x }}", "m.gguf")
    with pytest.raises(FormatError):
        one.render({"x": 5 << 20})
    assert one.render({"x": 2}) == "aa"
    one.close()


def test_recovers_after_its_process_is_killed() -> None:
    one = TemplateWorker("{{ x }}", "m.gguf")
    assert one.render({"x": 1}) == "1"
    assert one._process is not None
    one._process.kill()
    with pytest.raises(FormatError, match="ended its process"):
        one.render({"x": 1})
    assert one.render({"x": 2}) == "2"
    one.close()


def test_threads_take_turns() -> None:
    one = TemplateWorker("{{ x }}", "m.gguf")
    found: list[bool] = []

    def work(number: int) -> None:
        found.append(all(one.render({"x": number + i}) == str(number + i) for i in range(50)))

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
    one.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_starts_its_own() -> None:
    one = TemplateWorker("{{ x }}", "m.gguf")
    assert one.render({"x": 1}) == "1"
    parent = one._process
    child = os.fork()
    if child == 0:
        try:
            good = one.render({"x": 2}) == "2" and one._process is not parent
            one.close()
            os._exit(0 if good else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert one.render({"x": 3}) == "3"
    assert one._process is parent
    one.close()


def test_process_ends_with_its_owner() -> None:
    one = TemplateWorker("{{ x }}", "m.gguf")
    assert one.render({"x": 1}) == "1"
    process = one._process
    assert process is not None
    del one
    assert process.poll() is not None


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupted_rendering_is_not_answered_later() -> None:
    one = TemplateWorker("{{ x }}{% for i in range(90000) %}{% endfor %}", "m.gguf")
    assert one.render({"x": 1}) == "1"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        with pytest.raises(KeyboardInterrupt):
            one.render({"x": 2})
    finally:
        signal.signal(signal.SIGALRM, before)
    assert one.render({"x": 3}) == "3"
    one.close()


def test_no_python_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(PyllamaRtError, match="cannot start Python"):
        render("x")
