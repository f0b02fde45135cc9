from __future__ import annotations

import random
from pathlib import Path

import pytest
import sentencepiece
from shared_data import shared
from tokenizer.metadata import small_pieces

from pyllama_rt.errors import ConfigError, FormatError, UnsupportedError
from pyllama_rt.tokenizer import wire
from pyllama_rt.tokenizer.model_proto import (
    SentencePieceModel,
    read_sentencepiece_model,
    write_model_proto,
)


def model() -> SentencePieceModel:
    pieces = [*small_pieces(), ("长" * 60, -3.5, 4)]
    return SentencePieceModel(
        pieces=[text for text, _, _ in pieces],
        scores=[score for _, score, _ in pieces],
        types=[kind for _, _, kind in pieces],
        bos_id=1,
        eos_id=2,
        add_dummy_prefix=False,
        precompiled_charsmap=b"",
    )


def test_round_trip() -> None:
    written = model()
    read = read_sentencepiece_model(write_model_proto(written))
    for name in SentencePieceModel.__dataclass_fields__:
        assert getattr(read, name) == getattr(written, name), name


def test_the_library_reads_it() -> None:
    library = sentencepiece.SentencePieceProcessor()
    library.LoadFromSerializedProto(write_model_proto(model()))
    assert [library.IdToPiece(i) for i in range(269)] == list(model().pieces)
    assert (library.unk_id(), library.bos_id(), library.eos_id(), library.pad_id()) == (0, 1, 2, -1)


@pytest.mark.parametrize(
    "name",
    [
        "tokenizers/llama/tokenizer.model",
        "tokenizers/chinese-llama/chinese_sp.model",
        "models/demo/tokenizer.model",
    ],
)
def test_reads_what_the_library_reads(name: str) -> None:
    path = shared(name)
    read = read_sentencepiece_model(path)
    library = sentencepiece.SentencePieceProcessor(str(path))
    ids = range(library.GetPieceSize())
    assert list(read.pieces) == [library.IdToPiece(i) for i in ids]
    assert list(read.scores) == [library.GetScore(i) for i in ids]
    assert (read.unk_id, read.bos_id) == (library.unk_id(), library.bos_id())
    assert (read.eos_id, read.pad_id) == (library.eos_id(), library.pad_id())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no pieces"),
        (b"\x0a", "expected more bytes, found end of message"),
        (b"\x0a\xff\xff\xff\xff\x0f", "expected 4294967295 bytes, found 0 bytes left"),
        (b"\xff" * 11, "at most 10 bytes"),
        (b"\x0b", "wire type at byte 0: expected 0, 1, 2 or 5, found 3"),
        (b"\x02\x00", "field number at byte 0: expected 1 or more"),
        (wire.bytes_field(1, wire.bytes_field(1, b"\xff")), "piece 0: expected UTF-8"),
        (wire.bytes_field(1, wire.int_field(3, 9)), "type of piece 0: expected 1 to 6, found 9"),
        (
            wire.bytes_field(1, wire.bytes_field(1, b"a")) + wire.bytes_field(2, b"\x18\x07"),
            "model_type: expected 1 to 4, found 7",
        ),
    ],
)
def test_hostile(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_sentencepiece_model(data)


def test_suffix_words_are_refused() -> None:
    data = write_model_proto(model()) + wire.bytes_field(2, wire.int_field(24, 1))
    with pytest.raises(UnsupportedError, match="suffix"):
        read_sentencepiece_model(data)


def test_mutants_give_a_model_or_a_typed_error() -> None:
    data = write_model_proto(model())
    rng = random.Random(11)
    refused = 0
    for _ in range(1500):
        mutant = bytearray(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.2 else data)
        for _ in range(rng.randrange(1, 4)):
            if mutant:
                mutant[rng.randrange(len(mutant))] = rng.choice([0, 255, rng.randrange(256)])
        try:
            read_sentencepiece_model(bytes(mutant))
        except (FormatError, UnsupportedError):
            refused += 1
    assert refused > 100


def test_paths(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    with pytest.raises(ConfigError, match="cannot open the file"):
        read_sentencepiece_model(path)
    with pytest.raises(FormatError, match="found a directory"):
        read_sentencepiece_model(tmp_path)
    path.write_bytes(write_model_proto(model()))
    assert read_sentencepiece_model(path).bos_id == 1
