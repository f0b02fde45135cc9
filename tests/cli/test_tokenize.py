"""`pyllama-rt tokenize`."""

from __future__ import annotations

import json

import pytest
from command_line import call, check_refused
from shared_data import shared

from pyllama_rt.cli.app import run_command
from pyllama_rt.cli.demo import DEMO_MODEL

MODEL = str(DEMO_MODEL)


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[int], list[str]]:
    assert run_command(["tokenize", MODEL, *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    return found["ids"], found["pieces"]


def test_ids_and_pieces(capsys: pytest.CaptureFixture[str]) -> None:
    ids, pieces = as_json(capsys, "Hello 世")
    assert ids[0] == 1
    assert pieces == ["<s>", " Hello", " ", "\\xe4", "\\xb8", "\\x96"]
    assert as_json(capsys, "Hello 世", "--no-bos")[0] == ids[1:]
    assert run_command(["tokenize", MODEL, "Hello 世"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == ids


def test_special_pieces_only_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 not in as_json(capsys, "a</s>")[0]
    assert 2 in as_json(capsys, "a</s>", "--special")[0]


def test_standard_input_and_bytes() -> None:
    done = call("tokenize", DEMO_MODEL, "-", "--json", stdin=b"caf\xe9\n")
    assert done.returncode == 0
    assert json.loads(done.stdout)["pieces"][-1] == "\\xe9"


@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("gpt-2", ["It", "'s", " 42"]),
        ("llama-bpe", ["<|begin_of_text|>", "It", "'s", " ", "42"]),
        ("bert-bge", ["[CLS]", " it", " '", " s", " 42", "[SEP]"]),
    ],
)
def test_files_with_a_vocabulary_alone(
    name: str, pieces: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared(f"vocab/ggml-vocab-{name}.gguf")
    assert run_command(["tokenize", str(path), "It's 42", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pieces"] == pieces


def test_a_model_that_is_none() -> None:
    check_refused(call("tokenize", __file__, "x"), "GGUF")
