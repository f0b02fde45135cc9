from __future__ import annotations

import pytest

from pyllama_rt.chat.builtin import NAMES, choose
from pyllama_rt.errors import ConfigError

TURNS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "你好"},
]
SYSTEM = {"role": "system", "content": "Be kind."}


def text(name: str, messages: list[dict[str, str]]) -> str:
    template = choose(name, None)
    try:
        prompt = template.render(
            messages, bos_token="<s>", eos_token="</s>", special_pieces=["<s>"]
        )
    finally:
        template.close()
    assert prompt.starts_with_bos == (name == "llama-2")
    return prompt.text


def test_llama_2() -> None:
    assert text("llama-2", TURNS) == "<s>[INST] Hi [/INST] Yes?</s><s>[INST] 你好 [/INST]"
    assert text("llama-2", [SYSTEM, TURNS[0]]) == (
        "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST]"
    )


def test_alpaca() -> None:
    head = (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request."
    )
    assert text("alpaca", TURNS[:1]) == head + "\n\n### Instruction:\nHi\n\n### Response: "
    assert text("alpaca", [SYSTEM, *TURNS]) == (
        "Be kind.\n\n### Instruction:\nHi\n\n### Response: Yes?"
        "\n\n### Instruction:\n你好\n\n### Response: "
    )
    assert choose("alpaca", None).default_stops == ("### Instruction:",)


def test_chatml() -> None:
    assert text("chatml", [SYSTEM, TURNS[0]]) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("name", ["llama-2", "alpaca"])
def test_unknown_role(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} knows the roles"):
        text(name, [{"role": "tool", "content": "x"}])


@pytest.mark.parametrize("name", NAMES)
def test_content_that_is_not_text(name: str) -> None:
    template = choose(name, None)
    for content in (None, [{"type": "text", "text": "x"}]):
        with pytest.raises(ConfigError, match="plain text only"):
            template.render(
                [{"role": "user", "content": content}],
                bos_token="",
                eos_token="",
                special_pieces=[],
            )
    template.close()


def test_choose() -> None:
    assert choose(None, "x").source == "x"
    assert choose("chatml", "x").name == "chatml"
    with pytest.raises(ConfigError, match="name one of alpaca, chatml, llama-2"):
        choose(None, None)
    with pytest.raises(ConfigError, match=r"'llama2' is not known \(did you mean 'llama-2'\?\)"):
        choose("llama2", None)
