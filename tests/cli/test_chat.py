"""`pyllama-rt chat`, from a pipe and at a keyboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from command_line import call, check_refused

from pyllama_rt.cli import chat as chat_module
from pyllama_rt.cli.answer import Answer, Writer
from pyllama_rt.cli.app import run_command
from pyllama_rt.cli.demo import DEMO_MODEL


def talk(*lines: str, options: tuple[str, ...] = ()) -> tuple[list[str], str]:
    done = call("chat", "--temp", "0", *options, stdin="\n".join(lines).encode() + b"\n")
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines(), done.stderr.decode()


def test_a_conversation_remembers_and_resets() -> None:
    question = "What is 3 plus 4?"
    answers, _ = talk("Hello!", question, "/reset", question, "", "/exit", "never read")
    assert len(answers) == 3
    assert "7" in answers[2]
    alone, _ = talk(question)
    assert answers[2] == alone[0]


def test_commands() -> None:
    answers, notes = talk("/help", "/nonsense", "/reset")
    assert answers == []
    assert "Ctrl-D" in notes
    assert "/nonsense?" in notes
    assert "(new conversation)" in notes


def test_a_conversation_that_is_too_long_says_what_to_do() -> None:
    answers, notes = talk("Hello! " * 200, "What is 3 plus 4?", options=("--ctx", "64"))
    assert "/reset" in notes
    assert "--ctx" in notes
    assert notes.count("error:") == 1
    assert len(answers) == 1
    assert "7" in answers[0]


def test_an_answer_that_is_cut_off_says_so() -> None:
    _, notes = talk("Tell me a story about a fox and a kite.", options=("--ctx", "40"))
    assert "cut off: the context of 40 tokens is full" in notes
    _, notes = talk("Tell me a story about a fox and a kite.", options=("-n", "3"))
    assert "cut off" not in notes


def test_options_are_checked() -> None:
    check_refused(call("chat", "--temp", "nan"), "--temp")
    check_refused(call("chat", "--chat-format", "alpacca"), "alpaca")
    check_refused(call("chat", "no-such.gguf"), "no-such.gguf")


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What is typed: lines, or exceptions that the keys raise."""
    typed: list[object] = []

    def read(prompt: str) -> str:
        assert prompt == "> "
        found = typed.pop(0) if typed else EOFError()
        if isinstance(found, BaseException):
            raise found
        return str(found)

    monkeypatch.setattr("builtins.input", read)
    monkeypatch.setattr(chat_module, "is_piped", lambda: False)
    yield typed
    assert typed == []


def test_ctrl_c_at_the_prompt_goes_on(
    keyboard: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    keyboard += [KeyboardInterrupt(), "What is 3 plus 4?"]
    assert run_command(["chat", str(DEMO_MODEL), "--temp", "0"]) == 0
    found = capsys.readouterr()
    assert "7" in found.out
    assert "Ctrl-D" in found.err
    assert "tokens in" in found.err


def test_ctrl_c_stops_an_answer_and_keeps_the_conversation(
    keyboard: list[object],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keyboard += ["Tell me a story.", "What is 3 plus 4?"]
    stream, n_calls = Writer._stream, 0

    def interrupted(self: Writer, prompt: list[int], answer: Answer) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            answer.text += "Once"
            raise KeyboardInterrupt
        stream(self, prompt, answer)

    monkeypatch.setattr(Writer, "_stream", interrupted)
    assert run_command(["chat", "--temp", "0"]) == 0
    found = capsys.readouterr()
    assert "(stopped)" in found.err
    assert n_calls == 2
