"""`tokenizer.json` to GGUF: the ids are those of the library that wrote it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from checkpoints import HuggingFace
from families import FAMILIES, weights
from shared_data import shared
from tokenizer.generated_texts import texts
from tokenizer.peer import Peer, our_tokenizer
from tokenizer_files import (
    BEGIN,
    END,
    LLAMA_3,
    QWEN_2,
    TOOL,
    as_json,
    byte_level,
    checkpoint,
    n_pieces,
    split,
    train_byte_level,
    train_spaced,
    train_wordpiece,
    with_text_merges,
)
from tokenizers import Regex, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Library

from pyllama_rt.convert import convert_checkpoint
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.tokenizer.bert_words import BertCharacters
from pyllama_rt.tokenizer.model_proto import (
    CONTROL,
    NORMAL,
    UNUSED,
    USER_DEFINED,
    read_sentencepiece_model,
)
from pyllama_rt.tokenizer.pre_tokenizers import PRE_TOKENIZERS

N_TEXTS = 250
SPACES = normalizers.Replace(" ", "▁")
LLAMA_2 = normalizers.Sequence([normalizers.Prepend("▁"), SPACES])


def convert(folder: Path) -> Path:
    out = folder.with_suffix(".gguf")
    convert_checkpoint(folder, out)
    return out


def library(file: Any) -> Library:
    return Library.from_str(json.dumps(file))


def generated(special: tuple[str, ...]) -> Iterator[str]:
    return texts(11, N_TEXTS, special=special, old=True)


def check_ids(file: Any, path: Path, chosen: list[str]) -> None:
    ours, theirs = our_tokenizer(path), library(file)
    for text in chosen:
        assert ours.encode(text, special=True) == theirs.encode(text).ids, ascii(text)


def cut(expressions: tuple[str, ...], text: str) -> list[str]:
    steps = [pre_tokenizers.Split(Regex(each), "isolated") for each in expressions]
    return [word for word, _ in pre_tokenizers.Sequence(steps).pre_tokenize_str(text)]


def cut_alike(name: str, special: tuple[str, ...]) -> list[str]:
    """Texts on which llama.cpp, whom our pre-tokenizers follow, cuts as published."""
    row = PRE_TOKENIZERS[name]
    pattern = "|".join(map(re.escape, special))
    return [
        text
        for text in generated(special)
        if all(
            cut(row.splits, part) == cut(row.published, part) for part in re.split(pattern, text)
        )
    ]


def digits() -> Any:
    return pre_tokenizers.Digits(individual_digits=True)


def published(name: str, *, last: Any = None) -> Any:
    expressions = PRE_TOKENIZERS[name].published[: -1 if last else None]
    return byte_level(*map(split, expressions), *([last] if last else []))


BYTE_LEVEL: dict[str, Callable[[], dict[str, Any]]] = {
    "llama-bpe": lambda: train_byte_level(
        byte_level(split(LLAMA_3)), begins=True, ignore_merges=True
    ),
    "dbrx": lambda: train_byte_level(byte_level(split(LLAMA_3))),
    "qwen2": lambda: train_byte_level(byte_level(split(QWEN_2)), normalizer=normalizers.NFC()),
    "qwen35": lambda: train_byte_level(published("qwen35")),
    "gpt-2": lambda: train_byte_level(byte_level(use_regex=True)),
    "starcoder": lambda: train_byte_level(byte_level(digits(), use_regex=True)),
    "deepseek-llm": lambda: train_byte_level(published("deepseek-llm", last=digits())),
    "deepseek-coder": lambda: train_byte_level(published("deepseek-coder", last=digits())),
    "tekken": lambda: train_byte_level(published("tekken"), begins=True, ignore_merges=True),
    "gpt-4o": lambda: train_byte_level(published("gpt-4o")),
}


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_byte_level_ids(name: str, tmp_path: Path) -> None:
    file = BYTE_LEVEL[name]()
    path = convert(checkpoint(file, tmp_path / "m"))
    chosen = cut_alike(name, (BEGIN, END, TOOL))
    if file["normalizer"]:
        chosen = [text for text in chosen if unicodedata.is_normalized("NFC", text)]
    assert len(chosen) > N_TEXTS // 4
    with GgufFile.open(path) as gguf:
        assert gguf.get_str("tokenizer.ggml.model") == "gpt2"
        assert gguf.get_str("tokenizer.ggml.pre") == name
    check_ids(file, path, chosen)


def test_what_arrives_of_a_byte_level_vocabulary(tmp_path: Path) -> None:
    file = BYTE_LEVEL["llama-bpe"]()
    n = n_pieces(file)
    settings = {
        "bos_token": BEGIN,
        "eos_token": {"content": END},
        "chat_template": "{{ 'x' }}",
        "added_tokens_decoder": {str(n + 1): {"content": "<late>", "special": True}},
    }
    folder = checkpoint(
        file, tmp_path / "m", n_rows=n + 4, tokenizer_config=settings,
        generation_config={"eos_token_id": [n - 2, 7]},
    )  # fmt: skip
    with GgufFile.open(convert(folder)) as gguf:
        pieces = gguf.get_strings("tokenizer.ggml.tokens")
        pads = [f"[PAD{n + i}]" for i in (0, 2, 3)]
        assert pieces[n - 3 :] == [BEGIN, END, TOOL, pads[0], "<late>", *pads[1:]]
        kinds = gguf.get_ints("tokenizer.ggml.token_type")
        assert kinds[: n - 3] == [NORMAL] * (n - 3)
        assert kinds[n - 3 :] == [
            CONTROL, CONTROL, USER_DEFINED, UNUSED, CONTROL, UNUSED, UNUSED
        ]  # fmt: skip
        merges = gguf.get_strings("tokenizer.ggml.merges")
        assert merges == [" ".join(pair) for pair in file["model"]["merges"]]
        assert not gguf.has("tokenizer.ggml.scores")
        assert gguf.get_int("tokenizer.ggml.bos_token_id") == n - 3
        assert gguf.get_int("tokenizer.ggml.eos_token_id") == n - 2
        assert gguf.get_int("tokenizer.ggml.eot_token_id") == 7
        assert gguf.get_bool("tokenizer.ggml.add_bos_token")
        assert not gguf.get_bool("tokenizer.ggml.add_eos_token")
        assert gguf.get_str("tokenizer.chat_template") == "{{ 'x' }}"


def test_merges_as_text_give_the_same_file(tmp_path: Path) -> None:
    file = BYTE_LEVEL["gpt-2"]()
    (tmp_path / "text").mkdir()
    pairs = convert(checkpoint(file, tmp_path / "m"))
    lines = convert(checkpoint(with_text_merges(file), tmp_path / "text" / "m"))
    assert pairs.read_bytes() == lines.read_bytes()


def test_what_the_post_processor_adds_is_bos(tmp_path: Path) -> None:
    file = BYTE_LEVEL["llama-bpe"]()
    path = convert(checkpoint(file, tmp_path / "m", tokenizer_config={"bos_token": END}))
    check_ids(file, path, ["", "a"])


def test_of_equal_merges_the_last_counts(tmp_path: Path) -> None:
    file = BYTE_LEVEL["gpt-2"]()
    merges = file["model"]["merges"]
    file["model"]["merges"] = [*merges, merges[0]]
    path = convert(checkpoint(file, tmp_path / "m"))
    with GgufFile.open(path) as gguf:
        found = gguf.get_strings("tokenizer.ggml.merges")
    assert found == [" ".join(pair) for pair in [*merges[1:], merges[0]]]
    check_ids(file, path, list(generated((BEGIN, TOOL))))


def test_the_files_around_decide_on_bos(tmp_path: Path) -> None:
    file = BYTE_LEVEL["gpt-2"]()
    settings = {"add_bos_token": True, "bos_token": BEGIN}
    path = convert(checkpoint(file, tmp_path / "m", tokenizer_config=settings))
    assert our_tokenizer(path).encode("a")[0] == library(file).token_to_id(BEGIN)
    assert our_tokenizer(convert(checkpoint(file, tmp_path / "n"))).add_bos is False


def test_one_expression_that_keeps_only_its_matches(tmp_path: Path) -> None:
    cuts = pre_tokenizers.Split(Regex(QWEN_2), "removed", invert=True)
    path = convert(checkpoint(train_byte_level(byte_level(cuts)), tmp_path / "m"))
    with GgufFile.open(path) as gguf:
        assert gguf.get_str("tokenizer.ggml.pre") == "qwen2"
    # Every text is nothing but matches.
    for name, row in PRE_TOKENIZERS.items():
        if row.byte_level and len(row.published) == 1:
            inverted = pre_tokenizers.Split(Regex(row.published[0]), "removed", invert=True)
            for text in generated(()):
                words = [word for word, _ in inverted.pre_tokenize_str(text)]
                assert words == cut(row.published, text), (name, ascii(text))


def test_ignored_merges_need_another_name_only_where_it_matters(tmp_path: Path) -> None:
    file = train_byte_level(byte_level(split(QWEN_2)), ignore_merges=True)
    path = convert(checkpoint(file, tmp_path / "m"))
    check_ids(file, path, cut_alike("qwen2", (BEGIN, TOOL)))


SPACED: dict[str, Callable[[], dict[str, Any]]] = {
    "llama-2": lambda: train_spaced(normalizer=LLAMA_2),
    "llama-2, every merge": lambda: train_spaced(normalizer=LLAMA_2, every=True),
    "gemma": lambda: train_spaced(
        normalizer=SPACES, pre_tokenizer=pre_tokenizers.Split(" ", "merged_with_previous")
    ),
    "mistral": lambda: train_spaced(
        normalizer=None,
        pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="always", split=False),
    ),
}


@pytest.mark.parametrize("name", SPACED)
def test_spaced_ids(name: str, tmp_path: Path) -> None:
    file = SPACED[name]()
    path = convert(checkpoint(file, tmp_path / "m"))
    chosen = list(generated(("<s>", "</s>", TOOL)))
    if name == "mistral":  # Metaspace leaves out the prefix before a space, SentencePiece does not
        parts = (re.split("<s>|</s>|<tool>", text) for text in chosen)
        chosen = [
            text
            for text, between in zip(chosen, parts, strict=True)
            if not any(part.startswith((" ", "▁")) for part in between)
        ]
    assert len(chosen) > N_TEXTS // 4
    with GgufFile.open(path) as gguf:
        assert gguf.get_str("tokenizer.ggml.model") == "llama"
        assert gguf.get_bool("tokenizer.ggml.add_space_prefix") is (name != "gemma")
        assert gguf.get_int("tokenizer.ggml.unknown_token_id") == 0
    check_ids(file, path, chosen)


def test_scattered_merges_of_one_piece(tmp_path: Path) -> None:
    file = SPACED["gemma"]()
    merges = [["a", "aa"], ["b", "c"], ["a", "a"], ["a", "b"], ["aa", "a"]]
    pieces = [*list(file["model"]["vocab"])[:259], "a", "b", "c", "aa", "aaa", "bc", "ab"]
    file["model"] |= {"vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": merges}
    file["added_tokens"] = file["added_tokens"][:3]
    path = convert(checkpoint(file, tmp_path / "m"))
    check_ids(file, path, ["".join(each) for n in range(1, 7) for each in product("abc", repeat=n)])


def test_a_sentencepiece_model_goes_first(tmp_path: Path) -> None:
    source = HuggingFace(files={"tokenizer.json": "{}"})
    with GgufFile.open(convert(source.write(tmp_path / "m"))) as gguf:
        assert gguf.get_str("tokenizer.ggml.model") == "llama"


def test_a_real_vocabulary_as_merges(tmp_path: Path) -> None:
    model = read_sentencepiece_model(shared("tokenizers/llama/tokenizer.model"))
    vocab = {piece: i for i, piece in enumerate(model.pieces)}
    merges = [
        (-score, len(piece[:at]), piece[:at], piece[at:])
        for piece, score, kind in zip(model.pieces, model.scores, model.types, strict=True)
        if kind == NORMAL
        for at in range(1, len(piece))
        if piece[:at] in vocab and piece[at:] in vocab
    ]
    pairs = [(left, right) for *_, left, right in sorted(merges)]
    assert len(pairs) == 61249  # as published
    bpe = models.BPE(
        vocab=vocab, merges=pairs, unk_token="<unk>", byte_fallback=True, fuse_unk=True
    )
    theirs = Library(bpe)
    theirs.normalizer = LLAMA_2
    theirs.add_special_tokens(["<unk>", "<s>", "</s>"])
    file = as_json(theirs)
    check_ids(file, convert(checkpoint(file, tmp_path / "m")), list(generated(("<s>", "</s>"))))


def bert(file: Any, folder: Path, **files: Any) -> Path:
    """A BERT with a tokenizer.json, or only what `files` name."""
    values = {**FAMILIES["bert"], "vocab_size": n_pieces(file), "num_hidden_layers": 1}
    files = files or {"tokenizer.json": file}
    return HuggingFace(values, weights(values), tokenizer=None, files=files).write(folder)


def worded_alike(file: Any, lowercase: bool, strip_accents: bool) -> list[str]:
    """Texts that llama.cpp, whom we follow, cuts into the library's words."""
    theirs = library(file)
    ours = BertCharacters(lowercase=lowercase, strip_accents=strip_accents)
    found = []
    for text in generated(()):
        words = theirs.pre_tokenizer.pre_tokenize_str(theirs.normalizer.normalize_str(text))
        # A piece in GGUF cannot tell the mark of a word's start from that character in it.
        if [word for word, _ in words] == text.translate(ours).split() and "▁" not in text:
            found.append(text)
    assert len(found) > N_TEXTS // 4
    return found


@pytest.mark.parametrize(
    ("lowercase", "strip_accents"), [(True, None), (False, None), (True, False), (False, True)]
)
def test_wordpiece_ids(lowercase: bool, strip_accents: bool | None, tmp_path: Path) -> None:
    file = train_wordpiece(lowercase=lowercase, strip_accents=strip_accents)
    path = convert(bert(file, tmp_path / "m"))
    stripped = lowercase if strip_accents is None else strip_accents
    with GgufFile.open(path) as gguf:
        assert gguf.get_str("tokenizer.ggml.model") == "bert"
        pieces = gguf.get_strings("tokenizer.ggml.tokens")
        assert pieces[:6] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁!"]
        assert not any(piece.startswith("##") for piece in pieces)
        keys = ("padding", "unknown", "cls", "seperator", "mask")
        assert [gguf.get_int(f"tokenizer.ggml.{key}_token_id") for key in keys] == [*range(5)]
        assert gguf.get_int("tokenizer.ggml.token_type_count") == 2
        assert gguf.get_bool("tokenizer.ggml.normalizer.lowercase") is lowercase
        assert gguf.get_bool("tokenizer.ggml.normalizer.strip_accents") is stripped
    check_ids(file, path, worded_alike(file, lowercase, stripped))


def test_a_vocab_txt_gives_the_same(tmp_path: Path) -> None:
    file = train_wordpiece()
    lines = "".join(piece + "\n" for piece in sorted(file["model"]["vocab"], key=lambda piece: (
        file["model"]["vocab"][piece]
    )))  # fmt: skip
    (tmp_path / "text").mkdir()
    path = convert(bert(file, tmp_path / "m"))
    other = convert(bert(file, tmp_path / "text" / "m", **{"vocab.txt": lines}))
    assert path.read_bytes() == other.read_bytes()


def test_a_vocab_json_with_merges_txt_gives_the_same(tmp_path: Path) -> None:
    file = train_byte_level(byte_level(use_regex=True))
    vocab = {**file["model"]["vocab"], "<|endoftext|>": len(file["model"]["vocab"])}
    file["model"]["vocab"] = vocab
    file["added_tokens"] = [{"id": len(vocab) - 1, "content": "<|endoftext|>", "special": True}]
    lines = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in file["model"]["merges"])
    (tmp_path / "pair").mkdir()
    path = convert(checkpoint(file, tmp_path / "m"))
    folder = checkpoint(file, tmp_path / "pair" / "m", vocab=vocab)
    (folder / "tokenizer.json").unlink()
    (folder / "merges.txt").write_text(lines, encoding="utf-8")
    assert path.read_bytes() == convert(folder).read_bytes()


def test_ids_are_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    file = BYTE_LEVEL["llama-bpe"]()
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BEGIN, "eos_token": END}
    folder = checkpoint(file, tmp_path / "m", tokenizer_config=settings)
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
    ours = our_tokenizer(convert(folder))
    for text in cut_alike("llama-bpe", (BEGIN, END, TOOL)):
        assert ours.encode(text, special=True) == theirs(text)["input_ids"], ascii(text)


@pytest.mark.peer
@pytest.mark.parametrize("name", [*BYTE_LEVEL, *SPACED, "bert"])
def test_ids_are_those_of_the_peer(name: str, tmp_path: Path) -> None:
    if name == "bert":
        path = convert(bert(train_wordpiece(), tmp_path / "m"))
    else:
        path = convert(checkpoint({**BYTE_LEVEL, **SPACED}[name](), tmp_path / "m"))
    ours, theirs = our_tokenizer(path), Peer(path)
    for text in generated((BEGIN, END, TOOL, "<s>", "[SEP]")):
        found = theirs.encode(text, add_special=True, special=True)
        assert ours.encode(text, special=True) == found, ascii(text)


def test_the_output_never_replaces_a_tokenizer(tmp_path: Path) -> None:
    folder = checkpoint(BYTE_LEVEL["gpt-2"](), tmp_path / "m")
    with pytest.raises(ValueError, match="replace its own input"):
        convert_checkpoint(folder, folder / "tokenizer.json")


@pytest.mark.parametrize(("chosen", "number"), [("mean_tokens", 1), ("cls_token", 2), (None, 1)])
def test_pooling_of_sentence_transformers(chosen: str | None, number: int, tmp_path: Path) -> None:
    folder = bert(train_wordpiece(), tmp_path / "m")
    if chosen is not None:
        modes = ("cls_token", "mean_tokens", "max_tokens")
        write_pooling(folder, **{f"pooling_mode_{mode}": mode == chosen for mode in modes})
    with GgufFile.open(convert(folder)) as gguf:
        assert gguf.get_int("bert.pooling_type") == number


def write_pooling(folder: Path, **values: object) -> None:
    (folder / "1_Pooling").mkdir()
    values = {"word_embedding_dimension": 64, **values}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(values))
