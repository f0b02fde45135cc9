from __future__ import annotations

import random

from tokenizer.metadata import fake, small_pieces

from pyllama_rt.tokenizer.spm import SpmTokenizer
from pyllama_rt.tokenizer.stream import StreamDecoder
from pyllama_rt.tokenizer.vocabulary import Vocabulary

TOKENIZER = SpmTokenizer(Vocabulary.from_metadata(fake(small_pieces()), "x.gguf"))


def byte_tokens(data: bytes) -> list[int]:
    return [3 + byte for byte in data]


def test_a_character_comes_out_whole() -> None:
    stream = StreamDecoder(TOKENIZER)
    assert [stream.push(t) for t in byte_tokens("é😀".encode())] == ["", "é", "", "", "", "😀"]
    assert stream.flush() == ""


def test_invalid_bytes_do_not_wait() -> None:
    stream = StreamDecoder(TOKENIZER)
    assert [stream.push(t) for t in byte_tokens(b"\xff\xe4a")] == ["\ufffd", "", "\ufffda"]


def test_an_unfinished_character_is_flushed() -> None:
    stream = StreamDecoder(TOKENIZER)
    assert [stream.push(t) for t in byte_tokens(b"\xe4\xb8")] == ["", ""]
    assert stream.flush() == "\ufffd"
    assert stream.flush() == ""


def test_space_at_the_start() -> None:
    whole = TOKENIZER.encode("abc abc")
    assert "".join(map(StreamDecoder(TOKENIZER).push, whole)) == " abc abc"
    assert "".join(map(StreamDecoder(TOKENIZER, at_start=True).push, whole)) == "abc abc"


def test_control_pieces() -> None:
    assert StreamDecoder(TOKENIZER).push(2) == ""
    assert StreamDecoder(TOKENIZER, special=True).push(2) == "</s>"


def test_the_parts_are_the_whole() -> None:
    rng = random.Random(3)
    for _ in range(3000):
        tokens = rng.choices(range(TOKENIZER.n_vocab), k=rng.randrange(20))
        stream = StreamDecoder(TOKENIZER, at_start=True)
        parts = [stream.push(token) for token in tokens]
        joined = "".join(parts) + stream.flush()
        assert joined == TOKENIZER.decode(tokens).decode("utf-8", "replace")
