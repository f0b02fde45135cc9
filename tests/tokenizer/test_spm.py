from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import sentencepiece
from shared_data import shared
from timing import cpu_s, untraced
from tokenizer.metadata import SPECIAL, Piece, fake, small_pieces, words

from pyllama_rt.errors import ConfigError, FormatError
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.tokenizer.model_proto import read_sentencepiece_model
from pyllama_rt.tokenizer.registry import load_tokenizer
from pyllama_rt.tokenizer.spm import SpmTokenizer
from pyllama_rt.tokenizer.vocabulary import Vocabulary

REAL_MODELS = [
    "tokenizers/llama/tokenizer.model",
    "tokenizers/chinese-llama/chinese_sp.model",
    "tokenizers/chinese-llama-2/tokenizer.model",
    "models/demo/tokenizer.model",
]
PARTS = [
    *(
        "the",
        " ",
        "  ",
        "\n",
        "\t",
        "\r\n",
        "\x00",
        "\x01",
        "\x7f",
        "▁",
        "\u3000",
        "\xa0",
        "\u200b",
    ),
    *("中", "文", "法国的", "日本", "한국", "ا", "हि", "é", "e\u0301", "ﬁ", "½", "１", "\ufffd"),
    *("😀", "👩‍👩‍👧", "\U0001f1eb", "3.14", "def ", "()", "{", "<", ">", "|", "\ufeff", "ab"),
]


def strings(seed: int, count: int, parts: list[str], longest: int) -> Iterator[str]:
    rng = random.Random(seed)
    for _ in range(count):
        text = "".join(rng.choices(parts, k=rng.randrange(longest)))
        if rng.random() < 0.3:
            points = (rng.randrange(0x110000) for _ in range(8))
            text += "".join(chr(p) for p in points if not 0xD800 <= p <= 0xDFFF)
        yield text


def small(**more: object) -> SpmTokenizer:
    return SpmTokenizer(Vocabulary.from_metadata(fake(small_pieces(), **more), "x.gguf"))


def of_model(path: Path) -> SpmTokenizer:
    return SpmTokenizer(Vocabulary.from_sentencepiece(read_sentencepiece_model(path), path))


def texts(tokenizer: SpmTokenizer, tokens: list[int]) -> list[str]:
    return [tokenizer.vocabulary.pieces[token] for token in tokens]


def test_merges_and_byte_fallback() -> None:
    tokenizer = small()
    assert texts(tokenizer, tokenizer.encode("abc", add_bos=False)) == ["▁abc"]
    # The best score wins, not the longest piece.
    assert texts(tokenizer, tokenizer.encode("cabc", add_bos=False)) == ["▁", "c", "ab", "c"]
    found = texts(tokenizer, tokenizer.encode("中é\x00", add_bos=False))
    assert found == ["▁", "中", "<0xC3>", "<0xA9>", "<0x00>"]


def test_empty_text() -> None:
    assert small().encode("") == [1]
    assert small().encode("", add_bos=False) == []
    assert small().decode([]) == b""


def test_bos_and_eos() -> None:
    assert small(add_bos_token=False).encode("abc") == [261]
    assert small(add_bos_token=False).encode("abc", add_bos=True) == [1, 261]
    assert small(add_eos_token=True).encode("abc") == [1, 261, 2]
    assert small(add_eos_token=True).encode("abc", add_bos=True) == [1, 261]


def test_no_bos_to_add() -> None:
    pieces = small_pieces()
    texts, kinds = [p for p, _, _ in pieces], [k for _, _, k in pieces]
    vocabulary = Vocabulary("x", texts, kinds, [0.0] * 268)
    with pytest.raises(ConfigError, match="no BOS"):
        SpmTokenizer(vocabulary).encode("a", add_bos=True)


def test_control_pieces_only_where_asked() -> None:
    tokenizer = small()
    assert 2 not in tokenizer.encode("ab</s>abc")
    assert tokenizer.encode("ab</s>abc", special=True) == [1, 260, 2, 261]
    assert tokenizer.encode("<s></s>", add_bos=False, special=True) == [1, 2]


def test_user_defined_pieces_always() -> None:
    pieces: list[Piece] = [*small_pieces(), ("<ab>", 0.0, 4), ("<ab>c", 0.0, 4)]
    tokenizer = SpmTokenizer(Vocabulary.from_metadata(fake(pieces), "x.gguf"))
    assert texts(tokenizer, tokenizer.encode("a<ab>cab", add_bos=False)) == [
        *("▁", "a", "<ab>c", "▁ab"),
    ]


def test_spans_give_the_ids_of_the_joined_text() -> None:
    tokenizer = small()
    whole = tokenizer.encode("ab</s>abc ab", special=True)
    assert tokenizer.encode_spans([("ab</", True), ("s>", True)]) == tokenizer.encode("ab</s>")
    cuts = [("ab</s>a", True), ("b", False), ("c", True), (" ab", False)]
    assert tokenizer.encode_spans(cuts) == whole
    assert 2 not in tokenizer.encode_spans([("a", True), ("b</s>", False), ("c", True)])
    # Halves of a piece on both sides of a border never make the piece.
    assert 2 not in tokenizer.encode_spans([("</", True), ("s>", False)])


def test_bytes_that_are_not_utf_8_survive() -> None:
    tokenizer = small()
    rng = random.Random(5)
    for _ in range(2000):
        data = bytes(rng.choices(b"abc <>s/\xe4\xb8\xad\xff\xc3\x80\xf0\xed\xa0", k=12))
        tokens = tokenizer.encode(data, add_bos=False)
        assert tokenizer.decode(tokens) == data
        # An argument of the command line that is not UTF-8 arrives as surrogates.
        assert tokenizer.encode(data.decode("utf-8", "surrogateescape"), add_bos=False) == tokens


def test_lone_surrogate_becomes_the_replacement_character() -> None:
    tokenizer = small()
    assert tokenizer.decode(tokenizer.encode("a\ud800b")).decode() == "a\ufffdb"


def test_without_byte_pieces() -> None:
    pieces = SPECIAL + words("ab", "▁", "a", "b")
    tokenizer = SpmTokenizer(Vocabulary.from_metadata(fake(pieces), "x.gguf"))
    assert tokenizer.encode("ab中😀b", add_bos=False) == [4, 3, 0, 6]
    assert tokenizer.encode(b"ab\xffb", add_bos=False) == [4, 3, 0, 6]


def test_incomplete_byte_pieces_are_not_used() -> None:
    pieces: list[Piece] = [*SPECIAL, ("<0x41>", 0.0, 6), *words("▁", "a")]
    tokenizer = SpmTokenizer(Vocabulary.from_metadata(fake(pieces), "x.gguf"))
    assert tokenizer.encode("Aa", add_bos=False) == [4, 0, 5]
    assert tokenizer.decode([3]) == b"A"


def test_decode_removes_one_space_of_the_first_text_piece() -> None:
    tokenizer = small()
    assert tokenizer.decode(tokenizer.encode("  abc")) == b"  abc"
    assert tokenizer.decode([1, 261, 2, 261]) == b"abc abc"
    assert tokenizer.decode([1, 261, 2], special=True) == b"<s>abc</s>"
    assert small(add_space_prefix=False).decode([261]) == b" abc"


@pytest.mark.parametrize("token", [-1, 268, 2**63])
def test_token_out_of_range(token: int) -> None:
    with pytest.raises(ConfigError, match="expected 0 to 267"):
        small().piece(token)


def test_library_refusal_is_one_line_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    vocabulary = Vocabulary.from_metadata(fake(small_pieces()), "x.gguf")
    object.__setattr__(vocabulary, "precompiled_charsmap", b"\xff\xff\xff\x7fgarbage")
    object.__setattr__(vocabulary, "remove_extra_whitespaces", True)
    with pytest.raises(FormatError, match=r"x\.gguf: vocabulary: expected") as error:
        SpmTokenizer(vocabulary)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_long_text() -> None:
    tokenizer = small()
    text = "abc 中\x00" * 150_000
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens).decode() == text


@pytest.mark.parametrize("name", ["llama-spm", "phi-3"])
def test_ids_of_the_public_vocabularies(name: str) -> None:
    path = shared(f"vocab/ggml-vocab-{name}.gguf")
    with GgufFile.open(path) as file:
        tokenizer = load_tokenizer(file, path)
    data = Path(f"{path}.inp").read_bytes().decode()
    expected = Path(f"{path}.out").read_text().splitlines()
    inputs = data.split("\n__ggml_vocab_test__\n")
    assert len(expected) >= 46
    for text, line in zip(inputs, expected, strict=False):
        tokens = tokenizer.encode(text, add_bos=False)
        assert tokens == [int(number) for number in line.split()]
        assert tokenizer.decode(tokens).decode() == text


@pytest.mark.parametrize("name", REAL_MODELS)
def test_ids_equal_the_library(name: str) -> None:
    path = shared(name)
    tokenizer, library = of_model(path), sentencepiece.SentencePieceProcessor(str(path))
    for text in strings(1, 2000, PARTS, 30):
        assert tokenizer.encode(text, add_bos=False) == library.EncodeAsIds(text)


def test_speed_of_plain_text() -> None:
    untraced()
    path = shared("tokenizers/llama/tokenizer.model")
    tokenizer, library = of_model(path), sentencepiece.SentencePieceProcessor(str(path))
    text = shared("text/wikitext-2.valid.txt").read_text(encoding="utf-8")[:100_000]
    seconds = cpu_s(lambda: tokenizer.encode(text), 7)
    # The bar is 1/0.9; the rest is room for a busy machine.
    assert seconds < 1.5 * cpu_s(lambda: library.EncodeAsIds(text), 7)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["llama-spm", "phi-3"])
def test_special_pieces_equal_the_peer(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    path = shared(f"vocab/ggml-vocab-{name}.gguf")
    with GgufFile.open(path) as file:
        tokenizer = load_tokenizer(file, path)
    peer = llama_cpp.Llama(model_path=str(path), vocab_only=True, verbose=False)
    vocab = llama_cpp.llama_model_get_vocab(peer._model.model)
    ends = {i for i in range(tokenizer.n_vocab) if llama_cpp.llama_vocab_is_eog(vocab, i)}
    assert tokenizer.eog_ids == ends
    special = [text for text in tokenizer.special_pieces if not text.startswith("[PAD")]
    broken = ["</", "<s", "|>", "unk>", "[PAD", "[PAD32011]", "<0x41>", " \n ", "\v"]
    for text in strings(2, 2000, special * 2 + broken + PARTS, 14):
        for add_bos in (True, False):
            for parse in (True, False):
                found = tokenizer.encode(text, add_bos=add_bos, special=parse)
                assert found == peer.tokenize(text.encode(), add_bos=add_bos, special=parse)
    capfd.readouterr()
