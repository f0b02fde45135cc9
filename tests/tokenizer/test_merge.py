from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sentencepiece
from checkpoints import LETTERS
from checkpoints import sentencepiece as vocabulary
from shared_data import shared

from pyllama_rt.errors import FormatError, UnsupportedError
from pyllama_rt.tokenizer import wire
from pyllama_rt.tokenizer.merge import MergedVocabulary, merge_vocabularies
from pyllama_rt.tokenizer.model_proto import (
    CONTROL,
    NORMAL,
    UNUSED,
    USER_DEFINED,
    SentencePieceModel,
    read_sentencepiece_model,
    write_model_proto,
)


def merge(base: SentencePieceModel, extra: SentencePieceModel) -> MergedVocabulary:
    return merge_vocabularies(write_model_proto(base), write_model_proto(extra), "BASE", "EXTRA")


def test_normal_pieces_that_the_base_lacks_follow_in_order() -> None:
    base = vocabulary([("ab", NORMAL)])
    extra = vocabulary(
        [("zz", NORMAL), ("ab", NORMAL), ("<x>", CONTROL), ("人", NORMAL), ("u", USER_DEFINED),
         ("n", UNUSED)]
    )  # fmt: skip
    merged = merge(base, extra)
    assert merged.added == ("zz", "人")
    assert merged.duplicates == (*LETTERS, "ab")
    assert merged.not_taken == {
        "unknown": 1, "control": 3, "byte": 256, "user_defined": 1, "unused": 1,
    }  # fmt: skip
    read = read_sentencepiece_model(merged.data)
    n = merged.n_base
    assert list(read.pieces) == [*base.pieces, "zz", "人"]
    assert list(read.scores) == [*base.scores, 0.0, 0.0]
    assert list(read.types) == [*base.types, NORMAL, NORMAL]
    assert n == len(base.pieces)


def test_every_byte_of_the_base_survives() -> None:
    unknown = wire.bytes_field(77, b"from the future") + wire.int_field(2000, 5)
    data = write_model_proto(vocabulary()) + unknown
    merged = merge_vocabularies(data, write_model_proto(vocabulary([("zz", NORMAL)])), "B", "E")
    piece = wire.bytes_field(1, wire.bytes_field(1, b"zz") + b"\x15\0\0\0\0")
    assert merged.data.replace(piece, b"") == data
    assert merged.data.endswith(unknown)


def test_the_library_reads_and_uses_it() -> None:
    merged = merge(vocabulary(), vocabulary([("abc", NORMAL), ("ab", NORMAL)]))
    library = sentencepiece.SentencePieceProcessor()
    library.LoadFromSerializedProto(merged.data)
    assert library.GetPieceSize() == merged.n_base + 2
    assert library.EncodeAsPieces("abca") == ["▁", "abc", "a"]


def test_nothing_to_add() -> None:
    merged = merge(vocabulary(), vocabulary())
    assert merged.added == ()
    assert merged.data == write_model_proto(vocabulary())


def test_a_unigram_base_is_refused() -> None:
    base = replace(vocabulary(), model_type="unigram")
    with pytest.raises(UnsupportedError, match=r"BASE: a unigram vocabulary .*expected bpe"):
        merge(base, vocabulary())
    assert merge(vocabulary(), replace(vocabulary([("zz", NORMAL)]), model_type="unigram")).added


def test_broken_files_are_named() -> None:
    good = write_model_proto(vocabulary())
    with pytest.raises(FormatError, match=r"^EXTRA: pieces"):
        merge_vocabularies(good, b"", "BASE", "EXTRA")
    with pytest.raises(FormatError, match=r"^BASE: protobuf"):
        merge_vocabularies(good[:100], good, "BASE", "EXTRA")


def read(name: str) -> bytes:
    path: Path = shared(f"tokenizers/{name}")
    return path.read_bytes()


def test_chinese_llama_comes_out() -> None:
    base = read("llama/tokenizer.model")
    merged = merge_vocabularies(base, read("chinese-llama/chinese_sp.model"), "B", "E")
    model = read_sentencepiece_model(merged.data)
    assert len(model.pieces) == 49953
    old = read_sentencepiece_model(base)
    assert list(model.scores) == [*old.scores, *[0.0] * 17953]
    library = sentencepiece.SentencePieceProcessor()
    library.LoadFromSerializedProto(merged.data)
    assert library.GetPieceSize() == 49953


def test_chinese_llama_2_is_such_a_merge() -> None:
    # Its own file holds LLaMA's pieces first, then `<pad>` and 23,295 more, all with score 0.
    theirs = read("chinese-llama-2/tokenizer.model")
    merged = merge_vocabularies(read("llama/tokenizer.model"), theirs, "B", "E")
    assert merged.data == theirs
    assert merged.n_base + len(merged.added) == 55296
    assert merged.added[0] == "<pad>"
