from __future__ import annotations

import pytest
from fake_metadata import Element
from tokenizer.metadata import BYTES, SPECIAL, Piece, fake, small_pieces, words

from pyllama_rt.errors import FormatError
from pyllama_rt.tokenizer.model_proto import CONTROL
from pyllama_rt.tokenizer.vocabulary import Vocabulary


def test_defaults_are_those_of_llama() -> None:
    vocabulary = Vocabulary.from_metadata(fake(small_pieces()), "x.gguf")
    assert (vocabulary.unk_id, vocabulary.bos_id, vocabulary.eos_id) == (0, 1, 2)
    assert (vocabulary.add_bos, vocabulary.add_eos, vocabulary.add_space_prefix) == (1, 0, 1)
    assert vocabulary.eog_ids == {2}
    assert vocabulary.byte_ids == list(range(3, 259))


@pytest.mark.parametrize("key", ["tokens", "scores", "token_type"])
def test_missing_array(key: str) -> None:
    with pytest.raises(FormatError, match=f"x.gguf: tokenizer.ggml.{key}: expected an array"):
        Vocabulary.from_metadata(fake(small_pieces(), **{key: None}), "x.gguf")


@pytest.mark.parametrize(
    ("key", "value"), [("scores", [0.0]), ("token_type", [1] * 999), ("tokens", ["a"] * 3)]
)
def test_length_mismatch(key: str, value: object) -> None:
    with pytest.raises(FormatError, match=r"x\.gguf: vocabulary .*entries, one per piece"):
        Vocabulary.from_metadata(fake(small_pieces(), **{key: value}), "x.gguf")


@pytest.mark.parametrize(
    ("key", "element"), [("scores", Element.FLOAT64), ("token_type", Element.INT8)]
)
def test_narrow_element_type(key: str, element: Element) -> None:
    meta = fake(small_pieces())
    meta.elements[f"tokenizer.ggml.{key}"] = element
    with pytest.raises(FormatError, match=f"{key}: expected an array of .*found {element.name}"):
        Vocabulary.from_metadata(meta, "x.gguf")


@pytest.mark.parametrize("key", ["bos", "eos", "unknown"])
@pytest.mark.parametrize("token", [268, -1, 2**32 - 1, 2**63])
def test_special_id_out_of_range(key: str, token: int) -> None:
    assert len(small_pieces()) == 268
    with pytest.raises(FormatError, match=f"expected 0 to 267, found {token}"):
        Vocabulary.from_metadata(fake(small_pieces(), **{f"{key}_token_id": token}), "x.gguf")


@pytest.mark.parametrize("key", ["padding", "eot", "eom", "fim_pad", "fim_rep", "fim_sep"])
@pytest.mark.parametrize("token", [268, -1, 2**63])
def test_ids_that_nothing_needs_may_be_out_of_range(key: str, token: int) -> None:
    meta = fake(small_pieces(), **{f"{key}_token_id": token})
    vocabulary = Vocabulary.from_metadata(meta, "x.gguf")
    assert vocabulary.pad_id is None
    assert vocabulary.eog_ids == {2}


def test_default_special_id_out_of_range() -> None:
    with pytest.raises(FormatError, match="eos_id: expected 0 to 1, found 2"):
        Vocabulary.from_metadata(fake(SPECIAL[:2]), "x.gguf")


@pytest.mark.parametrize(
    "text", ["<0x-1>", "<0xZZ>", "<0x0a>", "<0x1>", "<0x100>", "0x0A", "<0x 1>", "<0x+1>"]
)
def test_bad_byte_piece(text: str) -> None:
    pieces: list[Piece] = [*small_pieces(), (text, 0.0, 6)]
    with pytest.raises(FormatError, match="byte piece 268: expected <0x00> to <0xFF>"):
        Vocabulary.from_metadata(fake(pieces), "x.gguf")


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (("", 0.0, 1), "piece 268: expected some text, found an empty piece"),
        (("a" * (1 << 20), 0.0, 1), "piece 268: expected up to 512 .* found 1048576"),
        (("ab", 0.0, 1), "expected different ones, found 'ab' 2 times"),
        (("q", 0.0, 7), "type of piece 268: expected 1 to 6, found 7"),
        (("q", 0.0, 0), "type of piece 268: expected 1 to 6, found 0"),
        (("q", float("nan"), 1), "scores: expected numbers, found NaN"),
    ],
)
def test_bad_piece(piece: Piece, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Vocabulary.from_metadata(fake([*small_pieces(), piece]), "x.gguf")


def test_no_pieces() -> None:
    with pytest.raises(FormatError, match="pieces: expected at least one"):
        Vocabulary.from_metadata(fake([]), "x.gguf")


def test_neither_unknown_nor_bytes() -> None:
    with pytest.raises(FormatError, match="an unknown piece or all 256 byte pieces"):
        Vocabulary("x", ["a"], [1], [0.0])


def test_control_whatever_the_file_says() -> None:
    names = ["<PRE>", "▁<SUF>", "<MID>", "<EOT>", "<|im_end|>"]
    pieces = SPECIAL + BYTES + words("a", *names)
    vocabulary = Vocabulary.from_metadata(fake(pieces), "x.gguf")
    assert [vocabulary.types[260 + i] for i in range(5)] == [CONTROL] * 5
    assert vocabulary.eog_ids == {2, 263, 264}


def test_end_ids_come_from_metadata_too() -> None:
    vocabulary = Vocabulary.from_metadata(
        fake(small_pieces(), eos_token_id=1, eot_token_id=265, eom_token_id=266), "x.gguf"
    )
    # `</s>` ends a text by its name even where the file names another EOS.
    assert vocabulary.eog_ids == {1, 2, 265, 266}


def test_phi_3_pieces_swallow_space_behind_them() -> None:
    meta = fake([*small_pieces(), ("<|user|>", 0.0, 3)])
    meta.values["general.name"] = "Phi-3 mini"
    assert Vocabulary.from_metadata(meta, "x.gguf").rstrip_ids == {2, 268}
