"""`pyllama-rt run` with the demo model in the package."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from command_line import COMMAND, FOLDER, call, check_refused
from shared_data import shared

from pyllama_rt.cli.app import run_command
from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.convert import convert_checkpoint, quantize_file

QUESTIONS = {"法国的首都是哪里？": "巴黎", "What is 3 plus 4?": "7"}


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    status = run_command(["run", *map(str, arguments)])
    found = capsys.readouterr()
    assert status == 0, found.err
    return found.out


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_demo_model_answers(question: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, question, "--temp", 0)
    assert QUESTIONS[question] in answer
    assert answer == answer.lstrip(" ")


def test_it_tells_a_story() -> None:
    done = call("run", "Tell me a story about a fox and a kite.", "--seed", "1")
    assert done.returncode == 0
    story = done.stdout.decode()
    assert len(story.split()) > 20
    assert "kite" in story
    assert story.endswith("\n")
    assert "load" in done.stderr.decode()
    assert "/s)" in done.stderr.decode()


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q6_k", "q4_k_m"])
def test_the_demo_model_answers_in_every_type(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shared("models/demo/config.json").parent
    convert_checkpoint(source, tmp_path / "f16.gguf", outtype="f16")
    model = tmp_path / f"{kind}.gguf"
    if kind != "f16":
        quantize_file(tmp_path / "f16.gguf", model, kind)
    for question, answer in QUESTIONS.items():
        assert answer in run(capsys, model, question, "--temp", 0)


def test_a_llama2c_checkpoint_tells_its_story(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shared("models/stories260K/stories260K.bin")
    model = tmp_path / "stories.gguf"
    convert_checkpoint(source, model, outtype="f32")
    text = run(capsys, model, "", "--raw", "--temp", 0, "-n", 256)
    assert text == source.with_name("expected.txt").read_text(encoding="utf-8")


def test_one_argument_is_a_model_if_it_looks_like_one(capsys: pytest.CaptureFixture[str]) -> None:
    check_refused(call("run", "no-such.gguf"), "no-such.gguf")
    assert run(capsys, "no such model", "--temp", 0, "-n", 2)


def test_the_prompt_may_come_from_a_pipe() -> None:
    options = ("--temp", "0", "-n", "20")
    question = "What is 3 plus 4?"
    piped = call("run", DEMO_MODEL, *options, stdin=question.encode() + b"\n")
    assert piped.returncode == 0
    assert piped.stdout == call("run", "-", *options, stdin=question.encode()).stdout
    assert piped.stdout == call("run", question, *options).stdout


def test_the_seed_decides(capsys: pytest.CaptureFixture[str]) -> None:
    def text(seed: int) -> str:
        return run(capsys, "Tell me a story.", "--seed", seed, "--temp", 1.5, "-n", 20)

    assert text(5) == text(5)
    assert text(5) != text(6)


def test_stop_strings_and_templates(capsys: pytest.CaptureFixture[str]) -> None:
    greedy = ("What is 3 plus 4?", "--temp", 0)
    assert run(capsys, *greedy, "--stop", " is 7", "--stop", "x") == "3 plus 4\n"
    assert "7" in run(capsys, *greedy, "--chat-format", "llama-2")
    assert run(capsys, "[INST] What is 3 plus 4? [/INST]", "--raw", "--temp", 0).strip() == (
        run(capsys, *greedy).strip()
    )
    assert run(capsys, *greedy, "--system", "Say nothing.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing-here.gguf", "Hi"], ["nothing-here.gguf", "No such file"]),
        ([FOLDER + "/", "Hi"], [FOLDER, "directory"]),
        ([__file__, "Hi"], ["GGUF"]),
        (["Hi", "--threads", "0"], ["--threads", "1 to 512", "0"]),
        (["Hi", "--threads", "-1"], ["--threads", "-1"]),
        (["Hi", "--threads", "1000000"], ["--threads", "1000000"]),
        (["Hi", "--ctx", "0"], ["--ctx"]),
        (["Hi", "--ctx", str(1 << 40)], ["--ctx", str(1 << 40)]),
        (["Hi", "--batch", "0"], ["--batch"]),
        (["Hi", "--kv-type", "q9"], ["--kv-type", "f16", "q9"]),
        (["Hi", "--temp", "nan"], ["--temp", "nan"]),
        (["Hi", "--temp", "-1"], ["--temp"]),
        (["Hi", "--top-p", "2"], ["--top-p"]),
        (["Hi", "--repeat-penalty", "0"], ["--repeat-penalty"]),
        (["Hi", "--seed", "-5"], ["--seed"]),
        (["Hi", "-n", "0"], ["--max-tokens"]),
        (["Hi", "-n", "many"], ["--max-tokens", "run --help"]),
        (["Hi", "--stop", ""], ["stop"]),
        (["Hi", "--chat-format", "lama-2"], ["llama-2"]),
        (["Hi", "--raw", "--system", "x"], ["--raw", "--system"]),
        (["Hi " * 600], ["tokens", "context", "512", "--ctx"]),
        (["a.gguf", "b", "c"], ["run --help"]),
        (["Hi", "--no-such-option"], ["--no-such-option"]),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status = run_command(["run", *arguments])
    found = capsys.readouterr()
    assert (status, found.out) == (2, "")
    assert found.err.startswith("error: ")
    assert found.err.count("\n") == 1
    for word in words:
        assert word in found.err


@pytest.mark.skipif(os.name != "posix", reason="permissions and bytes as arguments are POSIX")
def test_unreadable_and_strange_paths(tmp_path: Path) -> None:
    check_refused(call("run", b"/tmp/\xff\xfe\n.gguf", "Hi"), "\\udcff\\udcfe\\n.gguf")
    locked = tmp_path / "locked.gguf"
    locked.write_bytes(b"GGUF")
    locked.chmod(0)
    if not os.access(locked, os.R_OK):  # the superuser reads everything
        check_refused(call("run", locked, "Hi"), "locked.gguf", "ermission")


@pytest.mark.skipif(os.name != "posix", reason="bytes as arguments are POSIX")
def test_a_prompt_that_is_not_utf8_is_read() -> None:
    done = call("run", "--raw", b"caf\xe9 \xff", "-n", "3", "--temp", "0")
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_a_context_that_memory_cannot_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "Hi", "--ctx", str(1 << 30)]) == 2
    assert "--ctx" in capsys.readouterr().err


def test_an_instruction_set_that_is_unknown() -> None:
    check_refused(call("run", "Hi", environment={"PYLLAMA_RT_ISA": "avx9"}), "avx9", "scalar")


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes as on POSIX")
def test_ctrl_c_keeps_the_text_so_far() -> None:
    command = [*COMMAND, "run", "--raw", "One day", "--temp", "0", "-n", "400", "--stop", "\x01"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        cwd=FOLDER,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.read(3)
        process.send_signal(signal.SIGINT)
        rest, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130
    assert first + rest
    assert rest.endswith(b"\n")
    assert b"Traceback" not in errors
    assert errors.endswith(b"interrupted\n")


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes as on POSIX")
def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen(
        [*COMMAND, "run", "Tell me a story.", "--seed", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=FOLDER,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.skipif(os.name != "posix", reason="the shell closes the stream")
def test_closed_and_full_stdout() -> None:
    for redirection, words in ((">&-", ["output is closed"]), (">/dev/full", ["No space"])):
        if redirection.endswith("full") and not os.path.exists("/dev/full"):
            continue
        script = f'"$@" {redirection}'
        done = subprocess.run(
            ["sh", "-c", script, "sh", *COMMAND, "run", "Hi", "-n", "3"],
            capture_output=True, stdin=subprocess.DEVNULL, cwd=FOLDER, check=False,
        )  # fmt: skip
        check_refused(done, *words)
