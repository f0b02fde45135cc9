"""Prompts and the choice of a chat template."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.engine.prompts import chat_template, encode_prompt, has_template
from pyllama_rt.errors import ConfigError, FormatError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter
from pyllama_rt.tokenizer.registry import load_tokenizer


@pytest.fixture
def file() -> Iterator[GgufFile]:
    with GgufFile.open(DEMO_MODEL) as opened:
        yield opened


def test_one_bos_and_no_eos(file: GgufFile) -> None:
    tokenizer = load_tokenizer(file, file.path)
    ids = encode_prompt(tokenizer, "One day")
    assert ids[0] == tokenizer.bos_id
    assert ids[1:] == tokenizer.encode("One day", add_bos=False)
    assert encode_prompt(tokenizer, "<s>One day") == ids
    assert encode_prompt(tokenizer, "") == [tokenizer.bos_id]
    assert encode_prompt(tokenizer, "a</s>")[-1] == tokenizer.eos_id


def test_the_files_own_template_or_a_named_one(file: GgufFile) -> None:
    assert has_template(file.metadata)
    assert chat_template(file.metadata).source == file.metadata["tokenizer.chat_template"]
    assert chat_template(file.metadata, "alpaca").name == "alpaca"
    with pytest.raises(ConfigError, match="did you mean 'alpaca'"):
        chat_template(file.metadata, "alpacca")


def test_a_file_without_a_usable_template(tmp_path: Path) -> None:
    for name, value in (("none", None), ("number", 5)):
        path = tmp_path / f"{name}.gguf"
        with GgufWriter(path) as writer:
            writer.add("general.architecture", "llama")
            if value is not None:
                writer.add("tokenizer.chat_template", value)
        with GgufFile.open(path) as opened:
            error = ConfigError if value is None else FormatError
            with pytest.raises(error, match=rf"{name}\.gguf: .*template"):
                chat_template(opened.metadata)
