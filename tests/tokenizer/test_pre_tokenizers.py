from __future__ import annotations

import pytest
from tokenizers import Regex, pre_tokenizers

from pyllama_rt.tokenizer.pre_tokenizers import PRE_TOKENIZER_ALIASES, PRE_TOKENIZERS

NAMES = (
    "llama-bpe", "qwen2", "qwen35", "gpt-2", "mpt", "deepseek-llm", "deepseek-coder",
    "deepseek-r1-qwen", "starcoder", "refact", "falcon", "command-r", "smollm", "olmo", "dbrx",
    "tekken", "gpt-4o", "gemma4", "default",
)  # fmt: skip


def cut(expressions: tuple[str, ...], text: str) -> list[str]:
    """The words into which the library cuts `text`."""
    splits = [pre_tokenizers.Split(Regex(each), "isolated") for each in expressions]
    return [word for word, _ in pre_tokenizers.Sequence(splits).pre_tokenize_str(text)]


def test_names() -> None:
    assert set(PRE_TOKENIZERS) == set(NAMES)
    assert not PRE_TOKENIZER_ALIASES.keys() & PRE_TOKENIZERS.keys()
    assert set(PRE_TOKENIZER_ALIASES.values()) <= PRE_TOKENIZERS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost(name: str) -> None:
    text = "It's 12345 ÉCOLEs,\u3000中文 and  \n\n\tI'LL go!? 😀\x00 "
    for expressions in (PRE_TOKENIZERS[name].splits, PRE_TOKENIZERS[name].published):
        assert "".join(cut(expressions, text)) == text


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("llama-bpe", "I'LL 12345", ["I", "'LL", " ", "123", "45"]),
        ("llama-bpe", "a  b\n\n c!\n", ["a", " ", " b", "\n\n", " c", "!\n"]),
        ("qwen2", "I'LL 123", ["I", "'LL", " ", "1", "2", "3"]),
        ("qwen35", "e\u0301e\u0301 x", ["e\u0301e\u0301", " x"]),
        ("gpt-2", "I'LL we'll 123", ["I", "'", "LL", " we", "'ll", " 123"]),
        ("starcoder", " 12a", [" ", "1", "2", "a"]),
        ("falcon", " 1234 a, b", [" ", "123", "4", " a", ",", " b"]),
        ("deepseek-llm", "a b, 123\n中文é", ["a", " b", ",", " ", "123", "\n", "中文", "é"]),
        ("deepseek-coder", " 12 中a", [" ", "1", "2", " ", "中", "a"]),
        ("tekken", "HTTPServer's 12", ["HTTPServer", "'s", " ", "1", "2"]),
        ("gpt-4o", "HTTPServer's camelCase", ["HTTPServer's", " camel", "Case"]),
        ("gemma4", "a\n\nb c", ["a", "\n\n", "b c"]),
        ("default", "$12 it's", ["$", "12", " it", "'", "s"]),
    ],
)
def test_words(name: str, text: str, words: list[str]) -> None:
    assert cut(PRE_TOKENIZERS[name].splits, text) == words


@pytest.mark.parametrize(
    ("name", "text", "splits", "published"),
    [
        ("llama-bpe", "x'ſ", ["x", "'ſ"], ["x", "'ſ"]),
        ("llama-bpe", "x'ſy", ["x", "'ſy"], ["x", "'ſ", "y"]),
        ("gpt-4o", "éÉ", ["éÉ"], ["é", "É"]),
        ("tekken", "éÉ", ["éÉ"], ["é", "É"]),
        ("gpt-4o", "ka\u0301ka", ["ka", "\u0301ka"], ["ka\u0301ka"]),
        (
            "deepseek-llm",
            "1\u3000\u3000。",
            ["1", "\u3000", "\u3000", "。"],
            ["1", "\u3000\u3000。"],
        ),
        (
            "deepseek-coder",
            "1\u2003\u2003中",
            ["1", "\u2003", "\u2003", "中"],
            ["1", "\u2003", "\u2003中"],
        ),
        ("deepseek-llm", "1\u2003中", ["1", "\u2003", "中"], ["1", "\u2003中"]),
        ("deepseek-llm", "12", ["12"], ["1", "2"]),
    ],
)
def test_where_llama_cpp_cuts_otherwise(
    name: str, text: str, splits: list[str], published: list[str]
) -> None:
    assert cut(PRE_TOKENIZERS[name].splits, text) == splits
    assert cut(PRE_TOKENIZERS[name].published, text) == published
