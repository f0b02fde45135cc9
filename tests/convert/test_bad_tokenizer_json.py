"""Vocabularies that are wrong or lie: one clear line, and no output at all."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from convert.test_tokenizer_json import bert, write_pooling
from convert_refused import refused
from tokenizer_files import (
    BEGIN,
    LLAMA_3,
    TOOL,
    byte_level,
    checkpoint,
    n_pieces,
    split,
    train_byte_level,
    train_spaced,
    train_wordpiece,
)
from tokenizers import normalizers

from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.convert.tokenizer_json import MAX_FILE_BYTES
from pyllama_rt.errors import FormatError, UnsupportedError

Change = Callable[[Any], object]


@lru_cache
def original(kind: str) -> Any:
    if kind == "bytes":
        return train_byte_level(byte_level(split(LLAMA_3)), begins=True)
    if kind == "spaces":
        return train_spaced(normalizer=normalizers.Replace(" ", "▁"))
    return train_wordpiece()


def put(path: str, value: Any) -> Change:
    """Sets the value at a path of keys and indices."""

    def change(file: Any) -> None:
        *parents, last = path.split(".")
        for key in parents:
            file = file[int(key) if isinstance(file, list) else key]
        file[int(last) if isinstance(file, list) else last] = value

    return change


def add_piece(text: str, token: object) -> Change:
    return lambda file: file["model"]["vocab"].update({text: token})


def add_added(text: object, token: object, **more: Any) -> Change:
    return lambda file: file["added_tokens"].append({"id": token, "content": text, **more})


def drop_piece(token: int) -> Change:
    def change(file: Any) -> None:
        vocab = file["model"]["vocab"]
        del vocab[next(piece for piece, found in vocab.items() if found == token)]

    return change


def rename_piece(token: int, text: str) -> Change:
    def change(file: Any) -> None:
        drop_piece(token)(file)
        file["model"]["vocab"][text] = token

    return change


def drop_last_merge(file: Any) -> None:
    file["model"]["merges"].pop()


ROWS = n_pieces(original("bytes"))
CUTS = "pre_tokenizer.pretokenizers"

# Kind, change, what the message must say.
CASES: dict[str, tuple[str, Change, str]] = {
    "no model": ("bytes", lambda file: file.pop("model"), "expected an object of pieces"),
    "no vocabulary": ("bytes", put("model.vocab", {}), "expected an object of pieces"),
    "vocabulary no object": ("bytes", put("model.vocab", [["a", 0.5]]), "an object of pieces"),
    "id no number": ("bytes", add_piece("new", "1"), "id of piece 'new'.*found '1'"),
    "id a bool": ("bytes", add_piece("new", True), "id of piece 'new'.*found True"),
    "negative id": ("bytes", add_piece("new", -1), "id of piece 'new'.*found -1"),
    "id beyond the rows": ("bytes", add_piece("new", ROWS), f"the embedding has {ROWS} rows"),
    "huge id": ("bytes", add_piece("new", 2**70), f"the embedding has {ROWS} rows"),
    "id twice": ("bytes", add_piece("new", 3), "'new': expected an id of its own, found 3"),
    "hole": ("bytes", drop_piece(255), "merge .*found"),
    "hole without merges": (
        "bytes",
        lambda file: (drop_piece(255)(file), put("model.merges", [])(file)),
        "expected a piece for each id up to .* found none for id 255",
    ),
    "empty piece": ("bytes", add_piece("", ROWS - 1), "some text"),
    "half a pair": ("bytes", add_piece("\ud800", ROWS - 1), "half a surrogate pair"),
    "long piece": ("bytes", add_added("x" * 513, 100), "up to 512 characters"),
    "added no list": ("bytes", put("added_tokens", {}), "added_tokens: expected a list"),
    "added no object": ("bytes", put("added_tokens.0", 3), "added_tokens: expected objects"),
    "added without text": ("bytes", add_added(None, 9), "content: expected a string"),
    "added id no number": ("bytes", add_added("x", "9"), "id: expected a whole number"),
    "added id negative": ("bytes", add_added("x", -9), "'x': expected an id of its own"),
    "added id twice": ("bytes", add_added("x", ROWS - 1), "'x': expected an id of its own"),
    "added id taken": ("bytes", add_added("x", 99), "'x': expected an id that is not taken"),
    "added id beyond": ("bytes", add_added("x", ROWS), f"expected below {ROWS}"),
    "added text twice": (
        "bytes", put("added_tokens.1.content", BEGIN), "different ones, found '<.begin.>' 2 times"
    ),
    "special no bool": ("bytes", put("added_tokens.0.special", 1), "special: expected true"),
    "no merges": ("bytes", put("model.merges", None), "merges: expected a list"),
    "merges no list": ("bytes", put("model.merges", {"a": 1}), "merges: expected a list"),
    "merge of one": ("bytes", put("model.merges.5", "ab"), "merge 5: expected two pieces"),
    "merge of three": ("bytes", put("model.merges.5", "a b c"), "merge 5: expected two pieces"),
    "merge of numbers": ("bytes", put("model.merges.5", [1, 2]), "merge 5: expected two pieces"),
    "merge of no piece": ("bytes", put("model.merges.5", "a ☃"), "merge 5: .*found '☃'"),
    "merge into no piece": ("bytes", put("model.merges.5", "! ~"), "merge 5: .*found '!~'"),
    "merge in a circle": ("bytes", put("model.merges.5", ["", "a"]), "merge 5: .*found ''"),
    "unknown type": ("bytes", put("model.type", "Unigram"), "'Unigram' are not supported"),
    "type no text": ("bytes", put("model.type", 3), "model.type: expected a string"),
    "suffix": ("bytes", put("model.end_of_word_suffix", "</w>"), "end_of_word_suffix '</w>'"),
    "dropout": ("bytes", put("model.dropout", 0.1), "dropout 0.1"),
    "normalizer": ("bytes", put("normalizer", {"type": "NFKC"}), "normalizer .*NFKC"),
    "normalizer no object": ("bytes", put("normalizer", "NFC"), "normalizer: expected a step"),
    "expression": (
        "bytes", put(f"{CUTS}.0.pattern", {"Regex": r"\w+|\W"}), r"cutting words by .*\\w\+\|"
    ),
    "string pattern": ("bytes", put(f"{CUTS}.0.pattern", {"String": " "}), "the step .*String"),
    "behaviour": ("bytes", put(f"{CUTS}.0.behavior", "Removed"), "the step .*Removed"),
    "inverted": ("bytes", put(f"{CUTS}.0.invert", True), "the step .*invert"),
    "invert no bool": ("bytes", put(f"{CUTS}.0.invert", "no"), "invert: expected true or false"),
    "other step": ("bytes", put(f"{CUTS}.0", {"type": "Whitespace"}), "the step .*Whitespace"),
    "step without type": ("bytes", put(f"{CUTS}.0", {}), "expected a step with a type"),
    "step behind": (
        "bytes", lambda file: file["pre_tokenizer"]["pretokenizers"].reverse(), "behind ByteLevel"
    ),
    "space before texts": ("bytes", put(f"{CUTS}.1.add_prefix_space", True), "add_prefix_space"),
    "processor": ("bytes", put("post_processor", {"type": "Magic"}), "'Magic' is not supported"),
    "template without text": (
        "bytes", put("post_processor.processors.1.single", []), "expected the text once"
    ),
    "template with a stranger": (
        "bytes", put("post_processor.processors.1.special_tokens", {}), "expected texts and"
    ),
    "two before a text": (
        "bytes",
        put(f"post_processor.processors.1.special_tokens.{BEGIN}.ids", [1, 2]),
        "2 pieces on one side",
    ),
    "bos beyond": (
        "bytes",
        put(f"post_processor.processors.1.special_tokens.{BEGIN}.ids", [2**40]),
        "bos id: expected 0 to",
    ),
    "no bytes": ("spaces", put("model.byte_fallback", False), "byte_fallback.*tokenizer.model"),
    "a byte is missing": (
        "spaces", drop_piece(9), "none for id 9"
    ),
    "unknown piece missing": ("spaces", put("model.unk_token", "<u>"), "unk_token: .*'<u>'"),
    "half a merge missing": ("spaces", drop_last_merge, "no merge makes .*of its halves"),
    "lower case": ("spaces", put("normalizer", {"type": "Lowercase"}), "normalizer .*Lowercase"),
    "neither spaces nor bytes": ("spaces", put("normalizer", None), "neither byte-level nor"),
    "words": ("spaces", put("pre_tokenizer", {"type": "Whitespace"}), "pre_tokenizer .*Whitespace"),
    "words at spaces": (
        "spaces",
        put("pre_tokenizer", {"type": "Metaspace", "replacement": "▁"}),
        "splitting at spaces is not supported",
    ),
    "WordPiece for a LLaMA": ("words", lambda _: None, "supported for bert only; found .* llama"),
}  # fmt: skip

BERT: dict[str, tuple[Change, str]] = {
    "other prefix": (put("model.continuing_subword_prefix", "@@"), "'@@' is not supported"),
    "other normalizer": (put("normalizer", None), "expected BertNormalizer"),
    "other words": (put("pre_tokenizer", {"type": "Whitespace"}), "expected BertPreTokenizer"),
    "Chinese": (put("normalizer.handle_chinese_chars", False), "handle_chinese_chars"),
    "accents": (put("normalizer.strip_accents", "no"), "strip_accents: expected true, false"),
    "unknown piece": (put("model.unk_token", "<u>"), "unk_token: .*found '<u>'"),
    "nothing around": (put("post_processor", None), "expected one piece before and one behind"),
    "continued twice": (rename_piece(899, "##▁!"), "different ones"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_file_is_refused(case: str, tmp_path: Path) -> None:
    kind, change, message = CASES[case]
    file = copy.deepcopy(original(kind))
    change(file)
    folder = checkpoint(file, tmp_path / "m", n_rows=n_pieces(original(kind)))
    error = refused(folder)
    error.match(message)
    assert str(tmp_path) in str(error.value)
    assert error.type in (FormatError, UnsupportedError)


@pytest.mark.parametrize("case", BERT)
def test_a_wrong_wordpiece_file_is_refused(case: str, tmp_path: Path) -> None:
    change, message = BERT[case]
    file = copy.deepcopy(original("words"))
    change(file)
    refused(bert(file, tmp_path / "m")).match(message)


@pytest.mark.parametrize("file", ["bytes", "words"])
def test_the_unchanged_files_are_taken(file: str, tmp_path: Path) -> None:
    make = checkpoint if file == "bytes" else bert
    convert_checkpoint(make(original(file), tmp_path / "m"), tmp_path / "m.gguf")


TEXTS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "empty": (lambda _: b"", "expected JSON"),
    "cut": (lambda text: text[: len(text) // 2].encode(), "expected JSON"),
    "a list": (lambda _: b"[]", "a JSON object, found a list"),
    "deep": (lambda _: b'{"a":' * 10**5, "nested too deeply"),
    "deep lists": (lambda _: b'{"model":' + b"[" * 10**5, "nested too deeply"),
    "not UTF-8": (lambda text: text.encode() + b"\xff", "expected UTF-8"),
    "UTF-16": (lambda text: text.encode("utf-16"), "expected UTF-8"),
    "a key twice": (lambda text: text.replace("{", '{"version": 1, ', 1).encode(), "twice"),
    "many values": (lambda _: b'{"a": [' + b"0," * (1 << 22) + b"0]}", "values"),
    "a number of 5000 digits": (lambda _: b'{"a": ' + b"9" * 5000 + b"}", "expected JSON"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_what_is_no_json_is_refused(case: str, tmp_path: Path) -> None:
    folder = checkpoint(original("bytes"), tmp_path / "m")
    path = folder / "tokenizer.json"
    path.write_bytes(TEXTS[case][0](path.read_text(encoding="utf-8")))
    error = refused(folder)
    error.match(TEXTS[case][1])
    assert str(path) in str(error.value)


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(original("bytes"), tmp_path / "m")
    with open(folder / "tokenizer.json", "r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    refused(folder).match(f"size: expected up to {MAX_FILE_BYTES} bytes")


AROUND: dict[str, tuple[dict[str, Any], str]] = {
    "another text for an id": (
        {"added_tokens_decoder": {str(ROWS - 1): {"content": "<other>"}}},
        f"'<other>': expected an id that is not taken, found {ROWS - 1}, which is {TOOL!r}",
    ),
    "unknown bos": ({"bos_token": "<bos>"}, "bos piece: expected one of tokenizer.json"),
    "bos without one": ({"add_eos_token": True}, "add_eos: expected a eos id, found none"),
    "space before texts": ({"add_prefix_space": True}, "add_prefix_space is not supported"),
}


@pytest.mark.parametrize("case", AROUND)
def test_contradictions_around_it_are_refused(case: str, tmp_path: Path) -> None:
    settings, message = AROUND[case]
    folder = checkpoint(original("bytes"), tmp_path / "m", tokenizer_config=settings)
    refused(folder).match(message)


def pair(folder: Path, vocab: Any, merges: bytes, **settings: Any) -> Path:
    checkpoint(original("bytes"), folder, vocab=vocab, tokenizer_config=settings)
    (folder / "tokenizer.json").unlink()
    (folder / "merges.txt").write_bytes(merges)
    return folder


def test_a_wrong_pair_is_refused(tmp_path: Path) -> None:
    vocab = original("bytes")["model"]["vocab"]
    refused(pair(tmp_path / "a", vocab, b"a \xff")).match("merges.txt: content: expected UTF-8")
    refused(pair(tmp_path / "b", vocab, b"#version: 0.2\nab\n")).match("merge 0: expected two")
    refused(pair(tmp_path / "c", {"a": "b"}, b"")).match("id of piece 'a'")
    classed = pair(tmp_path / "d", vocab, b"", tokenizer_class="RobertaTokenizer")
    refused(classed).match("tokenizer_class 'RobertaTokenizer'")
    lonely = pair(tmp_path / "e", vocab, b"")
    (lonely / "merges.txt").unlink()
    refused(lonely).match("no tokenizer.model, tokenizer.json, vocab.txt or vocab.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na\n", "line 5.*again"),
        (b"[PAD]\n\xff\n", "expected UTF-8"),
        (b"[PAD]\n[UNK]\n[CLS]\na\n", "expected a sep piece"),
        (b"", "expected an object of pieces"),
        (b"x\n" + b"".join(b"%d\n" % i for i in range(2000)), "rows"),
        (b"[UNK]\n[CLS]\n[SEP]\na\n\nb\n", "some text"),
        (b"[UNK]\n[CLS]\n[SEP]\na\n##\xe2\x96\x81a\n", "different ones"),
    ],
)
def test_a_wrong_vocab_txt_is_refused(text: bytes, message: str, tmp_path: Path) -> None:
    folder = bert(original("words"), tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_bytes(text)
    refused(folder).match(message)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt"])
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_link_to_a_device_does_not_hang(name: str, tmp_path: Path) -> None:
    folder = bert(original("words"), tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    (folder / name).symlink_to("/dev/zero")
    refused(folder).match(f"{name}: expected a regular file, found a device")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pooling_mode_max_tokens": True}, r"pooling by \['max_tokens'\]"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "pooling by"),
        ({"pooling_mode_cls_token": False}, r"pooling by \[\]"),
        ({"pooling_mode_cls_token": 1}, "pooling_mode_cls_token: expected true or false"),
    ],
)
def test_other_poolings_are_refused(values: Any, message: str, tmp_path: Path) -> None:
    folder = bert(original("words"), tmp_path / "m")
    write_pooling(folder, **values)
    refused(folder).match(message)


def test_a_layer_behind_the_pooling_is_refused(tmp_path: Path) -> None:
    folder = bert(original("words"), tmp_path / "m")
    write_pooling(folder, pooling_mode_mean_tokens=True)
    (folder / "2_Dense").mkdir()
    refused(folder).match("2_Dense: a layer behind the pooling")


def test_a_pooling_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    folder = bert(original("words"), tmp_path / "m")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "pooling": "max"}))
    refused(folder).match("config.json: pooling")
