"""`pyllama-rt merge-lora` and `pyllama-rt convert-lora` on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from adapters import PREFIX, Peft, adapter_config, pairs
from checkpoints import N_PIECES, HuggingFace, config, sentencepiece
from command_line import call, check_refused

from pyllama_rt.cli.app import run_command
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.tokenizer.model_proto import NORMAL, write_model_proto


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return HuggingFace().write(tmp_path / "base")


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return Peft().write(tmp_path / "lora")


def run(*arguments: object) -> int:
    return run_command(list(map(str, arguments)))


def test_a_merge_says_what_it_did(
    base: Path, lora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.gguf"
    assert run("merge-lora", base, lora, "-o", out, "--outtype", "q8_0", "--threads", 1) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "14 tensors changed, 0 replaced" in shown.err
    assert f"{out}: q8_0, 21 tensors" in shown.err


def test_several_adapters_and_a_vocabulary_that_grows(
    base: Path, lora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = np.ones((N_PIECES + 1, 32), np.float32)
    second = Peft(
        adapter_config(modules_to_save=["embed_tokens", "lm_head"]),
        {
            **pairs(config(), seed=1),
            f"{PREFIX}model.embed_tokens.weight": whole,
            f"{PREFIX}lm_head.weight": whole,
        },
        files={"tokenizer.model": write_model_proto(sentencepiece([("中", NORMAL)]))},
    ).write(tmp_path / "second")
    assert run("merge-lora", base, f"{lora},{second}", "-o", tmp_path / "out") == 0
    text = capsys.readouterr().err
    assert "14 tensors changed, 2 replaced" in text
    assert f"vocabulary: {N_PIECES} pieces became {N_PIECES + 1}, with the tokenizer of" in text
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_an_adapter_becomes_a_file(
    base: Path, lora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.gguf"
    assert run("convert-lora", lora, "--base", base, "-o", out) == 0
    assert f"{out}: 14 pairs of rank 4, " in capsys.readouterr().err
    with GgufFile.open(out) as file:
        assert len(file.tensors) == 28
    assert run("inspect", out) == 0
    assert "cannot be run here" in capsys.readouterr().out
    for command in (("run", out, "x"), ("quantize", out, tmp_path / "x.gguf", "q8_0")):
        assert run(*command) == 2
        text = capsys.readouterr().err
        assert f"{out}: general.type: expected a model, found 'adapter'; add it to" in text


def test_wrong_input_gives_one_line(
    base: Path, lora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.gguf"
    check_refused(call("merge-lora", base, f"{lora},{lora}", "-o", out), "same adapter")
    for arguments, word in (
        (("merge-lora", base, f"{lora},", "-o", out), "between commas"),
        (("merge-lora", base, lora, "-o", out, "--threads", 0), "--threads"),
        (("convert-lora", lora, "-o", out), "--base"),
        (("convert-lora", base, "--base", base, "-o", out), "adapter_config.json"),
    ):
        assert run(*arguments) == 2
        assert word in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("command", ["merge-lora", "convert-lora", "merge-tokenizer"])
def test_help_shows_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert f"pyllama-rt {command} " in capsys.readouterr().out
