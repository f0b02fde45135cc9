from __future__ import annotations

import random

import pytest
from fake_metadata import Element, FakeMetadata
from timing import cpu_s, untraced
from tokenizer.metadata import Piece, alphabet, fake_bpe, small_bpe, words

from pyllama_rt.errors import ConfigError, FormatError, UnsupportedError
from pyllama_rt.tokenizer.bpe import BYTE_ALPHABET, BpeTokenizer, load_bpe
from pyllama_rt.tokenizer.stream import StreamDecoder


def small(**more: object) -> BpeTokenizer:
    return load_bpe(small_bpe(**more), "x.gguf")


def byte_ids(data: bytes) -> list[int]:
    return list(data)


def test_the_alphabet_of_bytes() -> None:
    assert len(set(BYTE_ALPHABET)) == 256
    assert [BYTE_ALPHABET[b] for b in b" \n\x00~\x7f\xa0\xff"] == list("ĠĊĀ~ġłÿ")


def test_merges_in_order_of_rank() -> None:
    tokenizer = small()
    assert tokenizer.encode("ab abc") == [256, 257, ord("c")]
    assert tokenizer.encode("abc") == [258]
    assert tokenizer.encode("bab") == [ord("b"), 256]
    # Words are cut first: nothing merges over their border.
    assert tokenizer.encode("1ab") == [ord("1"), 256]
    assert tokenizer.encode("中") == byte_ids("中".encode())


def test_empty_text() -> None:
    assert small().encode("") == []
    assert small().decode([]) == b""


def test_bos_and_eos() -> None:
    tokenizer = small(bos_token_id=259, eos_token_id=259)
    assert tokenizer.encode("ab") == [256]
    assert tokenizer.encode("ab", add_bos=True) == [259, 256]
    both = small(bos_token_id=259, eos_token_id=259, add_bos_token=True, add_eos_token=True)
    assert both.encode("ab") == [259, 256, 259]
    assert both.encode("ab", add_bos=True) == [259, 256]
    # These families put BOS first where the file says nothing.
    assert small(pre="llama-bpe", bos_token_id=259).add_bos
    with pytest.raises(ConfigError, match="no BOS"):
        small().encode("ab", add_bos=True)


def test_special_pieces() -> None:
    tokenizer = small(eos_token_id=0)
    assert tokenizer.encode("ab<|end|>ab", special=True) == [256, 259, 256]
    assert 259 not in tokenizer.encode("ab<|end|>ab")
    assert tokenizer.encode("ab<tag>ab") == [256, 260, 256]
    assert tokenizer.encode_spans([("ab<|e", True), ("nd|>", False)]) == tokenizer.encode(
        "ab<|end|>"
    )
    assert tokenizer.special_pieces == ["<|end|>"]
    assert tokenizer.eog_ids == {0, 259}
    assert tokenizer.piece(259) == b""
    assert tokenizer.piece(259, special=True) == b"<|end|>"
    assert tokenizer.piece(260) == b"<tag>"


def test_what_ends_a_generation() -> None:
    def ends(*names: str) -> set[str]:
        pieces = [*alphabet(), *((name, 0.0, 3) for name in names)]
        tokenizer = load_bpe(fake_bpe(pieces, []), "x.gguf")
        return {names[token - 256] for token in tokenizer.eog_ids}

    assert ends("<|end|>", "<|return|>") == {"<|end|>", "<|return|>"}
    # In these vocabularies it ends a message, not the turn.
    assert ends("<|end|>", "<|return|>", "<|call|>") == {"<|return|>", "<|call|>"}
    assert ends("<|end|>", "<|calls|>", "<|flush|>") == {"<|calls|>", "<|flush|>"}
    assert ends("</s>", "<eos>") == {"</s>", "<eos>"}
    assert ends("</s>", "<eos>", "<|tool_response>") == {"<eos>", "<|tool_response>"}


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe"])
def test_text_never_gives_a_control_id(pre: str) -> None:
    # "abc" and what leads there are control pieces: neither a merge nor a whole word makes them.
    pieces: list[Piece] = [
        *alphabet(),
        *words("ab"),
        ("abc", 0.0, 3),
        ("abcd", 0.0, 1),
        ("q", 0.0, 1),
    ]
    pieces[ord("q")] = ("control q", 0.0, 3)
    pieces.append(("qa", 0.0, 1))
    meta = fake_bpe(pieces, ["a b", "ab c", "abc d", "q a"], pre=pre, bos_token_id=0)
    tokenizer = load_bpe(meta, "x.gguf")
    assert tokenizer.encode("abc", add_bos=False) == [256, ord("c")]
    if pre == "gpt-2":
        assert tokenizer.encode("abcd") == [256, ord("c"), ord("d")]
    assert tokenizer.encode("abc", add_bos=False, special=True) == [257]


def test_ignore_merges() -> None:
    pieces = [*alphabet(), *words("ab", "bc", "abc")]
    meta = fake_bpe(pieces, ["b c", "a b"])
    assert load_bpe(meta, "x").encode("abc") == [ord("a"), 257]
    meta.values["tokenizer.ggml.pre"] = "llama-bpe"
    meta.values["tokenizer.ggml.bos_token_id"] = 0
    assert load_bpe(meta, "x").encode("abc", add_bos=False) == [258]


def test_bytes_that_are_not_utf_8_survive() -> None:
    tokenizer = small()
    rng = random.Random(5)
    for _ in range(1000):
        data = bytes(rng.choices(b"abc <>\n\xe4\xb8\xad\xff\xc3\x80\xf0\xed\xa0", k=12))
        tokens = tokenizer.encode(data)
        assert tokenizer.decode(tokens) == data
        assert tokenizer.encode(data.decode("utf-8", "surrogateescape")) == tokens
        stream = StreamDecoder(tokenizer, at_start=True)
        streamed = "".join(map(stream.push, tokens)) + stream.flush()
        assert streamed == data.decode("utf-8", "replace")


def test_lone_surrogate_becomes_the_replacement_character() -> None:
    tokenizer = small()
    assert tokenizer.decode(tokenizer.encode("a\ud800b")).decode() == "a\ufffdb"


def test_bytes_without_a_piece_are_left_out() -> None:
    pieces: list[Piece] = [("a", 0.0, 1), ("b", 0.0, 1), ("ab", 0.0, 1)]
    tokenizer = load_bpe(fake_bpe(pieces, ["a b"]), "x.gguf")
    assert tokenizer.encode("xab中b") == [2, 1]
    assert tokenizer.encode(b"ab\xffb") == [2, 1]


def test_a_user_defined_piece_is_no_byte() -> None:
    pieces = alphabet()
    pieces[0xFF] = ("ÿ", 0.0, 4)
    tokenizer = load_bpe(fake_bpe(pieces, []), "x.gguf")
    assert tokenizer.encode("aÿ") == [ord("a"), 0xFF]
    assert tokenizer.piece(0xFF) == "ÿ".encode()
    assert tokenizer.decode(tokenizer.encode(b"a\xff\xfe")) == "a\ufffd".encode() + b"\xfe"


def test_characters_outside_the_alphabet_stand_for_themselves() -> None:
    tokenizer = load_bpe(fake_bpe([*alphabet(), *words("中 Ġ")], []), "x.gguf")
    assert tokenizer.piece(256).decode() == "中  "


@pytest.mark.parametrize("token", [-1, 261, 2**63])
def test_token_out_of_range(token: int) -> None:
    with pytest.raises(ConfigError, match="expected 0 to 260"):
        small().piece(token)


@pytest.mark.parametrize(
    ("merge", "message"),
    [
        ("ab", r"merges\[3\]: expected two pieces with one space between them, found 'ab'"),
        ("", r"merges\[3\]: expected two pieces with one space between them, found ''"),
        ("a b c", r"merges\[3\]: expected two pieces .* found 'a b c'"),
        ("a  b", r"merges\[3\]: expected two pieces .* found 'a  b'"),
        (" ", r"merges ' ': expected pieces of the vocabulary, found ''"),
        ("xyz a", r"merges 'xyz a': expected pieces of the vocabulary, found 'xyz'"),
        ("a xyz", r"merges 'a xyz': expected pieces .*, found 'xyz'"),
        ("a c", r"merges 'a c': expected pieces .*, found 'ac'"),
        ("a " + "b" * (1 << 20), r"merges 'a bbb.*: expected pieces .*, found 'bbb"),
    ],
)
def test_bad_merge(merge: str, message: str) -> None:
    with pytest.raises(FormatError, match=r"^x\.gguf: tokenizer\.ggml\." + message) as error:
        small(merges=["a b", "Ġ ab", "ab c", merge])
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def test_of_equal_merges_the_first_counts() -> None:
    pieces = [*alphabet(), *words("ab", "bc")]
    assert load_bpe(fake_bpe(pieces, ["a b", "b c", "a b"]), "x").encode("abc") == [256, ord("c")]


def test_merges_missing() -> None:
    with pytest.raises(FormatError, match=r"x\.gguf: tokenizer\.ggml\.merges: expected an array"):
        small(merges=None)


@pytest.mark.parametrize(
    ("key", "value"), [("tokens", None), ("token_type", [1]), ("token_type", [1] * 999)]
)
def test_bad_arrays(key: str, value: object) -> None:
    with pytest.raises(FormatError, match=r"x\.gguf: "):
        small(**{key: value})


def test_types_may_be_missing() -> None:
    assert small(token_type=None).encode("ab") == [256]


def test_narrow_types() -> None:
    meta = small_bpe()
    meta.elements["tokenizer.ggml.token_type"] = Element.INT8
    with pytest.raises(FormatError, match="token_type: expected an array of INT32, found INT8"):
        load_bpe(meta, "x.gguf")


@pytest.mark.parametrize("key", ["bos", "eos", "unknown"])
@pytest.mark.parametrize("token", [261, -1, 2**32 - 1])
def test_special_id_out_of_range(key: str, token: int) -> None:
    with pytest.raises(FormatError, match=f"expected 0 to 260, found {token}"):
        small(**{f"{key}_token_id": token})


def test_unknown_pre_tokenizer() -> None:
    with pytest.raises(UnsupportedError, match=r"'qwen3' \(did you mean 'qwen.*known: a\.x-4\.0"):
        small(pre="qwen3")


@pytest.mark.parametrize("pre", [None, ""])
def test_pre_tokenizer_not_named(pre: str | None) -> None:
    assert small(pre=pre).encode("ab1234") == small(pre="default").encode("ab1234")


def gemma(**more: object) -> FakeMetadata:
    """0 "▁", 1 "a", 2 "b", 3 "▁a", 4 newline, 5 four newlines, 6 bytes, 262 "<tag>"."""
    pieces: list[Piece] = [
        *words("▁", "a", "b", "▁a", "\n", "\n\n\n\n"),
        *((f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)),
        ("<tag>", 0.0, 4),
    ]
    return fake_bpe(pieces, ["▁ a"], **({"model": "gemma4", "pre": None} | more), bos_token_id=0)


def test_gemma_4() -> None:
    tokenizer = load_bpe(gemma(), "x.gguf")
    assert tokenizer.encode("a a b") == [0, 1, 3, 0, 2]
    assert tokenizer.encode("a\na", add_bos=False) == [1, 4, 1]
    assert tokenizer.encode("a\n\n\n\na\n\n", add_bos=False) == [1, 5, 1, 4, 4]
    assert tokenizer.encode("é", add_bos=False) == [6 + 0xC3, 6 + 0xA9]
    assert tokenizer.encode(b"a\xff", add_bos=False) == [1, 6 + 0xFF]
    assert tokenizer.decode([3, 0, 2, 4, 6 + 0xFF, 262]) == b" a b\n\xff<tag>"


def seconds(tokenizer: BpeTokenizer, text: str) -> float:
    return cpu_s(lambda: tokenizer.encode(text), 3)


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "tekken", "deepseek-llm", "default"])
@pytest.mark.parametrize("unit", ["ab", "AB", " ", "\n", "1", "!", "\t\u3000", "中", "\u0301"])
def test_long_words_stay_linear(pre: str, unit: str) -> None:
    untraced()
    tokenizer = small(pre=pre, bos_token_id=0)
    n = (1 << 13) // len(unit)
    short, long = (
        seconds(tokenizer, "x" + unit * n + "1x"),
        seconds(tokenizer, "x" + unit * 8 * n + "1x"),
    )
    assert long < 8 * 3 * max(short, 0.005)


@pytest.mark.parametrize("pre", ["llama-bpe", "deepseek-llm"])
def test_a_megabyte_without_a_border(pre: str) -> None:
    untraced()
    tokenizer = small(pre=pre, bos_token_id=0)
    short, long = seconds(tokenizer, "ab" * (1 << 16)), seconds(tokenizer, "ab" * (1 << 19))
    assert long < 8 * 3 * short
