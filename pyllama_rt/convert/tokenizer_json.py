"""The parts of a `tokenizer.json`, checked; what they mean for each kind is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.errors import FormatError, UnsupportedError, shown
from pyllama_rt.formats.json_object import read_json_object
from pyllama_rt.tokenizer.model_proto import CONTROL, USER_DEFINED

MAX_FILE_BYTES = 1 << 26
"""Twice the largest in use, of 262,144 pieces and 580,000 merges."""

MAX_VALUES = 1 << 22
"""Likewise: a merge that is written as a pair counts three times."""

Merge = tuple[str, str]
AddedPieces = dict[int, tuple[str, int]]
"""Id -> (text, type) of pieces that text is searched for."""


@dataclass(frozen=True)
class Frame:
    """Ids before and behind every text; None: no part of the file speaks of them."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def read_tokenizer_json(path: Path) -> JsonMetadata:
    """The file. Raises: ConfigError, FormatError."""
    return JsonMetadata(read_json_object(path, MAX_FILE_BYTES, max_values=MAX_VALUES), path)


def read_pieces(vocab: Any, n_rows: int, source: object) -> dict[str, int]:
    """The id of each piece, different ones below `n_rows`; there may be holes between them.

    Args: vocab: a parsed JSON object. source: the file, for messages.
    Raises: FormatError.
    """
    if not isinstance(vocab, dict) or not vocab:
        expected = "an object of pieces and ids"
        raise FormatError.at(source, "vocab", expected=expected, found=shown(vocab))
    for piece, token in vocab.items():
        if type(token) is not int or not 0 <= token < n_rows:
            raise FormatError.at(
                source,
                f"id of piece {shown(piece)}",
                expected=f"0 to {n_rows - 1}, as the embedding has {n_rows} rows",
                found=shown(token),
            )
    if len(set(vocab.values())) != len(vocab):
        seen: dict[int, str] = {}
        for piece, token in vocab.items():
            if token in seen:
                expected, found = "an id of its own", f"{token}, which is {shown(seen[token])}"
                field = f"id of piece {shown(piece)}"
                raise FormatError.at(source, field, expected=expected, found=found)
            seen[token] = piece
    if "" in vocab:
        raise FormatError.at(source, "vocab", expected="pieces of some text", found="an empty one")
    check_unicode("".join(vocab), "vocab", source)
    return vocab


def pieces_in_order(vocab: Mapping[str, int], added: AddedPieces, source: object) -> list[str]:
    """The pieces by id, where `added` fills the holes. Raises: FormatError for one that stays."""
    texts = {token: piece for piece, token in vocab.items()}
    for token in range(max(texts)):
        if token in texts:
            continue
        if token not in added:
            expected = f"a piece for each id up to {max(texts)}"
            raise FormatError.at(source, "vocab", expected=expected, found=f"none for id {token}")
        texts[token] = added[token][0]
    return [texts[token] for token in range(len(texts))]


def read_merges(found: Any, vocab: Mapping[str, int], source: object) -> list[Merge]:
    """Pairs of pieces, written as pairs or as text with a space between, the first merged first.

    Raises: FormatError for what is no pair, or no piece of `vocab` alone and together.
    """
    if not isinstance(found, list):
        raise FormatError.at(source, "merges", expected="a list", found=shown(found))
    ranks: dict[Merge, int] = {}
    for i, item in enumerate(found):
        pair = item.split(" ") if isinstance(item, str) else item
        if not (isinstance(pair, list) and [type(each) for each in pair] == [str, str]):
            raise FormatError.at(source, f"merge {i}", expected="two pieces", found=shown(item))
        left, right = pair
        # What is longer than its parts cannot be part of them: there are no circles.
        for text in (left, right, left + right):
            if not text or text not in vocab:
                expected = "pieces of the vocabulary"
                raise FormatError.at(source, f"merge {i}", expected=expected, found=shown(text))
        ranks[left, right] = i  # of equal ones the library counts the last
    return sorted(ranks, key=lambda merge: ranks[merge])


def read_added(file: JsonMetadata, special: set[str]) -> AddedPieces:
    """The pieces under `added_tokens`; those in `special` are CONTROL whatever it says of them.

    Raises: FormatError.
    """
    found = file.get("added_tokens")
    if found is not None and not isinstance(found, list):
        raise file.error("added_tokens", "a list", found)
    added: AddedPieces = {}
    for item in found or ():
        if not isinstance(item, dict):
            raise file.error("added_tokens", "objects", item)
        entry = JsonMetadata(item, f"{file.source}: added_tokens")
        token, text = entry.get_int("id"), entry.get_str("content")
        if token < 0 or token in added:
            raise entry.error(f"id of {shown(text)}", "an id of its own", token)
        is_special = entry.get_bool("special", False) or text in special
        added[token] = (text, CONTROL if is_special else USER_DEFINED)
    return added


def read_frame(file: JsonMetadata) -> Frame:
    """What the post-processor puts around a text. Raises: FormatError, UnsupportedError."""
    frames = [frame for frame in map(_frame, _processors(file)) if frame is not None]
    if len(frames) > 1:
        raise UnsupportedError(f"{file.source}: post_processor: more than one around a text")
    return frames[0] if frames else Frame((), ())


def _processors(file: JsonMetadata) -> Iterator[JsonMetadata]:
    found = file.get("post_processor")
    if isinstance(found, dict) and found.get("type") == "Sequence":
        found = found.get("processors")
    for item in found if isinstance(found, list) else [found] if found is not None else []:
        if not isinstance(item, dict):
            raise file.error("post_processor", "objects", item)
        yield JsonMetadata(item, f"{file.source}: post_processor")


def _frame(processor: JsonMetadata) -> Frame | None:
    kind = processor.get_str("type")
    if kind == "ByteLevel":  # about offsets only
        return None
    if kind in ("BertProcessing", "RobertaProcessing"):
        return Frame((_pair_id(processor, "cls"),), (_pair_id(processor, "sep"),))
    if kind != "TemplateProcessing":
        raise UnsupportedError(f"{processor.source}: {shown(kind)} is not supported")
    before: list[int] = []
    after: list[int] = []
    n_texts = 0
    for item in processor.get("single") or ():
        if isinstance(item, dict) and "Sequence" in item:
            n_texts += 1
        else:
            (after if n_texts else before).extend(_template_ids(processor, item))
    if n_texts != 1:
        raise processor.error("single", "the text once", processor.get("single"))
    return Frame(tuple(before), tuple(after))


def _template_ids(processor: JsonMetadata, item: Any) -> list[int]:
    named = item.get("SpecialToken") if isinstance(item, dict) else None
    name = named.get("id") if isinstance(named, dict) else None
    known = processor.get("special_tokens")
    entry = known.get(name) if isinstance(known, dict) and isinstance(name, str) else None
    if not isinstance(entry, dict):
        raise processor.error("single", "texts and special_tokens", item)
    return JsonMetadata(entry, processor.source).get_ints("ids")


def _pair_id(processor: JsonMetadata, key: str) -> int:
    found = processor.get(key)
    if isinstance(found, list) and len(found) == 2 and type(found[1]) is int:
        return found[1]
    raise processor.error(key, "a piece and its id", found)


def check_unicode(text: str, field: str, source: object) -> None:
    """Raises FormatError for halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"half a surrogate pair in {shown(text[max(0, error.start - 20) : error.end + 20])}"
        raise FormatError.at(source, field, expected="Unicode text", found=found) from None
