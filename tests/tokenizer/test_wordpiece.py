from __future__ import annotations

from functools import partial

import pytest
from timing import cpu_s, untraced
from tokenizer.metadata import Piece, fake, small_wordpiece, words

from pyllama_rt.errors import FormatError
from pyllama_rt.tokenizer.stream import StreamDecoder
from pyllama_rt.tokenizer.wordpiece import WordPieceTokenizer, load_wordpiece


def small(**more: object) -> WordPieceTokenizer:
    return load_wordpiece(small_wordpiece(**more), "x.gguf")


def test_longest_pieces_first() -> None:
    tokenizer = small()
    assert tokenizer.encode("playing ab", add_bos=False) == [3, 4, 5, 6]
    # A word is known as a whole or not at all.
    assert tokenizer.encode("playingx a", add_bos=False) == [0, 5]
    assert tokenizer.encode("a!a", add_bos=False) == [5, 7, 5]


def test_normalisation() -> None:
    tokenizer = small()
    assert tokenizer.encode("PLÄYiNG\u0301\x00\u200b", add_bos=False) == [3, 4]
    assert tokenizer.encode("\u3000a\ta\x85b", add_bos=False)[:2] == [5, 5]
    cased = small(**{"normalizer.lowercase": False})
    assert cased.encode("Play play", add_bos=False) == [0, 3]
    assert cased.encode("pläy", add_bos=False) == [0]
    stripping = small(**{"normalizer.lowercase": False, "normalizer.strip_accents": True})
    assert stripping.encode("pläy Play", add_bos=False) == [3, 0]


def test_cls_and_sep_go_around_a_text() -> None:
    tokenizer = small()
    assert tokenizer.encode("a") == tokenizer.encode("a", add_bos=True) == [1, 5, 2]
    assert tokenizer.encode("") == [1, 2]
    assert tokenizer.encode("", add_bos=False) == []
    # The flags were made for other kinds; llama.cpp does not look at them here either.
    assert small(add_bos_token=False, add_eos_token=True, eos_token_id=2).encode("a") == [1, 5, 2]
    assert small(bos_token_id=5).encode("a") == [5, 5, 2]


def test_special_pieces() -> None:
    tokenizer = small()
    assert tokenizer.encode("a[SEP]a", special=True, add_bos=False) == [5, 2, 5]
    assert 2 not in tokenizer.encode("a[SEP]a", add_bos=False)
    assert tokenizer.encode("a<tag>a", add_bos=False) == [5, 8, 5]
    assert tokenizer.piece(2) == b""
    assert tokenizer.piece(2, special=True) == b"[SEP]"


def test_text_never_gives_a_control_id() -> None:
    pieces: list[Piece] = [("[UNK]", 0.0, 2), ("▁cls", 0.0, 3), ("▁a", 0.0, 1), ("b", 0.0, 3)]
    ids = {"unknown_token_id": 0, "bos_token_id": 1, "seperator_token_id": 1}
    tokenizer = load_wordpiece(fake(pieces, model="bert", scores=None, **ids), "x.gguf")
    assert tokenizer.encode("cls a ab", add_bos=False) == [0, 2, 0]


def test_decode() -> None:
    tokenizer = small()
    assert tokenizer.decode([1, 3, 4, 7, 5, 8, 2]) == b"playing ! a<tag>"
    assert tokenizer.decode([1, 3, 2], special=True) == b"[CLS]play[SEP]"
    stream = StreamDecoder(tokenizer)
    assert [stream.push(token) for token in (3, 4, 5)] == [" play", "ing", " a"]


def test_what_is_no_text_is_left_out() -> None:
    tokenizer = small()
    assert tokenizer.encode(b"pl\xffay", add_bos=False) == [3]
    assert tokenizer.encode("pl\ud800ay", add_bos=False) == [3]


@pytest.mark.parametrize("key", ["unknown", "cls", "bos", "eos", "seperator"])
@pytest.mark.parametrize("token", [9, -1, 2**32 - 1])
def test_special_id_out_of_range(key: str, token: int) -> None:
    with pytest.raises(FormatError, match=rf"^x\.gguf: .* expected 0 to 8, found {token}"):
        small(**{f"{key}_token_id": token})


@pytest.mark.parametrize("key", ["unknown", "cls", "seperator"])
def test_default_special_id_out_of_range(key: str) -> None:
    with pytest.raises(FormatError, match="expected 0 to 8, found 10"):
        small(**{f"{key}_token_id": None})


def test_ids_that_files_leave_out() -> None:
    pieces = words(*(f"▁{i}" for i in range(200)))
    tokenizer = load_wordpiece(fake(pieces, model="bert", scores=None), "x.gguf")
    assert tokenizer.encode("7 x") == [101, 7, 100, 102]
    assert (tokenizer.bos_id, tokenizer.unk_id, tokenizer.pad_id) == (101, 100, 0)


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (("", 0.0, 1), "piece 9: expected some text"),
        (("▁a", 0.0, 1), "expected different ones, found '▁a' 2 times"),
        (("a" * 600, 0.0, 1), "piece 9: expected up to 512 characters"),
    ],
)
def test_bad_piece(piece: Piece, message: str) -> None:
    meta = small_wordpiece()
    for key, value in zip(("tokens", "scores", "token_type"), piece, strict=True):
        found = meta.values.get(f"tokenizer.ggml.{key}")
        if isinstance(found, list):
            found.append(value)
    with pytest.raises(FormatError, match=message):
        load_wordpiece(meta, "x.gguf")


@pytest.mark.parametrize("unit", ["playing", "!", " ", "中", "a\u0301", "q"])
def test_long_words_stay_linear(unit: str) -> None:
    untraced()
    tokenizer = small()

    n = (1 << 14) // len(unit)
    short, long = (cpu_s(partial(tokenizer.encode, unit * size), 3) for size in (n, 8 * n))
    assert long < 8 * 3 * max(short, 0.005)


def test_a_long_word_has_its_pieces() -> None:
    # BERT's own program gives up after 100 characters, llama.cpp does not.
    tokens = small().encode("play" + "ing" * 1000, add_bos=False)
    assert tokens == [3] + [4] * 1000
