"""The vocabulary in a Hugging Face directory: its pieces and the JSON files around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.convert.sentencepiece_draft import draft_sentencepiece
from pyllama_rt.convert.tokenizer_json import AddedPieces
from pyllama_rt.convert.tokenizer_json_draft import FILES, draft_without_model
from pyllama_rt.convert.vocabulary_draft import ADDED_SCORE, SpecialId, VocabularyDraft
from pyllama_rt.errors import FormatError, shown
from pyllama_rt.small_file import read_small_file
from pyllama_rt.tokenizer.model_proto import BYTE, CONTROL, NORMAL, UNUSED, USER_DEFINED
from pyllama_rt.tokenizer.vocabulary import MAX_PIECE_CHARS

MAX_TEMPLATE_BYTES = 1 << 20
_MAX_TEMPLATE_NAME_CHARS = 64
_ROLES = ("bos", "eos", "unk", "pad", "cls", "sep", "mask")
_MAY_BE_ABSENT = ("pad", "mask")
"""Roles of pieces that matter in training only."""


@dataclass(frozen=True, slots=True)
class _Folder:
    """The folder of a checkpoint, and which of its files were asked for."""

    path: Path
    used: list[Path] = field(default_factory=list)

    def file(self, name: str) -> Path:
        self.used.append(self.path / name)
        return self.used[-1]

    def json(self, name: str) -> JsonMetadata:
        return JsonMetadata.read_optional(self.file(name))


def read_vocabulary(path: Path, config: JsonMetadata, n_rows: int) -> VocabularyDraft:
    """The pieces with everything that the files say about special ones, one for each row.

    Args: path: the checkpoint's folder. config: config.json. n_rows: rows of the embedding.
    Raises: FormatError for files that contradict one another; UnsupportedError for vocabularies of
        other kinds.
    """
    folder = _Folder(path)
    settings = folder.json("tokenizer_config.json")
    special = folder.json("special_tokens_map.json")
    generation = folder.json("generation_config.json")
    texts = _special_texts(settings, special)
    named = {text for text, _ in texts.values()} | _listed(special)
    added, source = _added_pieces(folder, settings, named)
    model = folder.file("tokenizer.model")
    if model.exists():
        draft = draft_sentencepiece(model)
    else:
        folder.used.extend(path / name for name in FILES)
        draft, own = draft_without_model(path, settings, named, n_rows)
        _add_pieces(draft, _agreed(own, added, source), draft.source, n_rows)
    _add_pieces(draft, added, source, n_rows)
    draft.special_ids.update(_special_ids(draft, texts, config, n_rows) | draft.framed)
    if "eos" in draft.roles:
        _add_ends(draft, generation, config)
    draft.add_bos = settings.get_bool("add_bos_token", draft.add_bos and "bos" in draft.special_ids)
    draft.add_eos = settings.get_bool("add_eos_token", draft.add_eos)
    draft.add_space_prefix = settings.get_bool("add_prefix_space", draft.add_space_prefix)
    draft.chat_templates = _chat_templates(folder, settings)
    draft.pad(n_rows)
    draft.files = folder.used
    return draft


def _special_texts(settings: JsonMetadata, special: JsonMetadata) -> dict[str, tuple[str, object]]:
    """Text of each special piece by role and the file that says so, tokenizer_config.json first."""
    texts: dict[str, tuple[str, object]] = {}
    for role in _ROLES:
        for file in (settings, special):
            text = _content(file, f"{role}_token")
            if text:  # empty means none
                texts.setdefault(role, (text, file.source))
    return texts


def _content(file: JsonMetadata, key: str) -> str | None:
    """A piece that is written either as text or as an object with `content`."""
    key = f"{key}.content" if isinstance(file.get(key), dict) else key
    return file.get_str(key, None)


def _listed(special: JsonMetadata) -> set[str]:
    """The additional special pieces."""
    found = special.get("additional_special_tokens")
    items = found if isinstance(found, list) else []
    texts = (item.get("content") if isinstance(item, dict) else item for item in items)
    return {text for text in texts if isinstance(text, str)}


def _added_pieces(
    folder: _Folder, settings: JsonMetadata, special: set[str]
) -> tuple[AddedPieces, object]:
    """Id -> (text, type) of the pieces added to the model's own, and the file that says so."""
    decoder = settings.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        nested = JsonMetadata(decoder, settings.source)
        found: AddedPieces = {}
        for key in decoder:
            if not (key.isascii() and key.isdigit() and len(key) < 10):
                raise nested.error("added_tokens_decoder", "ids as keys", key)
            text = nested.get_str(f"{key}.content")
            is_special = nested.get_bool(f"{key}.special", False) or text in special
            found[int(key)] = (text, CONTROL if is_special else USER_DEFINED)
        return found, settings.source
    added = folder.json("added_tokens.json")
    found = {}
    for text in added.values:
        token = _added_id(added, text)
        if token in found:
            raise FormatError.at(
                added.source, shown(text), expected="an id of its own", found=token
            )
        found[token] = (text, CONTROL if text in special else USER_DEFINED)
    return found, added.source


def _agreed(own: AddedPieces, added: AddedPieces, source: object) -> AddedPieces:
    """The added pieces of a tokenizer.json, with what the files around it make of them.

    Raises: FormatError if those have other texts for the same ids.
    """
    for token in own.keys() & added.keys():
        if own[token][0] != added[token][0]:
            field = f"id of added piece {shown(added[token][0])}"
            found = f"{token}, which is {shown(own[token][0])}"
            raise FormatError.at(source, field, expected="an id that is not taken", found=found)
    return {token: added.get(token, piece) for token, piece in own.items()}


def _added_id(added: JsonMetadata, text: str) -> int:
    token = added.values[text]
    if type(token) is not int or token < 0:
        raise FormatError.at(added.source, shown(text), expected="an id", found=shown(token))
    return token


def _add_pieces(draft: VocabularyDraft, added: AddedPieces, source: object, n_rows: int) -> None:
    """Put added pieces at their ids; ids between that nobody names become unused pieces."""
    for token, (text, kind) in sorted(added.items()):
        if token >= n_rows:
            raise FormatError.at(
                source,
                f"id of added piece {shown(text)}",
                expected=f"below {n_rows}, the rows of the embedding",
                found=token,
            )
        _check_text(text, source)
        if token >= len(draft.pieces):
            draft.pad(token + 1)
        is_same = draft.pieces[token] == text
        if not is_same and draft.types[token] in (NORMAL, BYTE):
            raise FormatError.at(
                source,
                f"id of added piece {shown(text)}",
                expected="an id that is not taken",
                found=f"{token}, which is {shown(draft.pieces[token])}",
            )
        if not is_same or draft.types[token] in (NORMAL, UNUSED):
            draft.pieces[token] = text
            draft.types[token] = kind
            draft.scores[token] = ADDED_SCORE


def _check_text(text: str, source: object) -> None:
    """Raises FormatError, naming the right file, for what the reader of GGUF refuses."""
    if len(text) > MAX_PIECE_CHARS or not _is_unicode(text):
        raise FormatError.at(
            source,
            f"added piece {shown(text)}",
            expected=f"up to {MAX_PIECE_CHARS} characters of Unicode text",
            found=f"{len(text)} characters" if _is_unicode(text) else "half a surrogate pair",
        )


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold it; JSON can spell halves of surrogate pairs, which it cannot."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _special_ids(
    draft: VocabularyDraft,
    texts: dict[str, tuple[str, object]],
    config: JsonMetadata,
    n_rows: int,
) -> dict[str, SpecialId]:
    """Ids that the tokenizer's files or else config.json name; below 0 means none."""
    ids = {}
    for role in draft.roles:
        text, source = texts.get(role, (None, None))
        token = config.get(f"{role}_token_id")
        if text in draft.pieces:
            ids[role] = SpecialId(draft.pieces.index(text), source)
        elif text is not None and role not in _MAY_BE_ABSENT:
            raise FormatError.at(
                source, f"{role} piece", expected=f"one of {draft.source.name}", found=shown(text)
            )
        elif role == "pad" and type(token) is int and token >= n_rows:
            continue  # training scripts pad with one id more than there are rows
        elif role != "unk" and type(token) is int and token >= 0:
            ids[role] = SpecialId(token, config.source)
    return ids


def _add_ends(draft: VocabularyDraft, generation: JsonMetadata, config: JsonMetadata) -> None:
    """Further ids that end a text; GGUF has names for two besides the end of the text."""
    ends: dict[int, SpecialId] = {}
    for file in (generation, config):
        is_list = isinstance(file.get("eos_token_id"), list)
        found = file.get_ints("eos_token_id") if is_list else [file.get_int("eos_token_id", -1)]
        for token in found:
            if token >= 0:
                ends.setdefault(token, SpecialId(token, file.source))
    if not ends:
        return
    eos = draft.special_ids.setdefault("eos", next(iter(ends.values())))
    others = [end for token, end in ends.items() if token != eos.token]
    draft.special_ids.update(zip(("eot", "eom"), others, strict=False))


def _chat_templates(folder: _Folder, settings: JsonMetadata) -> dict[str, str]:
    """Templates by name; the file `chat_template.jinja` goes before tokenizer_config.json."""
    found: Any = settings.get("chat_template")
    templates: dict[str, str] = {}
    if isinstance(found, str):
        templates[""] = found
    elif isinstance(found, list):
        templates = dict(_named_template(item, settings) for item in found)
    elif found is not None:
        raise settings.error("chat_template", "text", found)
    for text in templates.values():
        if len(text) > MAX_TEMPLATE_BYTES or not _is_unicode(text):
            raise settings.error("chat_template", "up to 1 MiB of Unicode text", text)
    path = folder.file("chat_template.jinja")
    if path.exists():
        templates[""] = _read_template(path)
    return templates


def _named_template(item: Any, settings: JsonMetadata) -> tuple[str, str]:
    """The name ("" for the default) and text of an entry of a list of templates."""
    if isinstance(item, dict):
        name, text = item.get("name"), item.get("template")
        if isinstance(name, str) and isinstance(text, str):
            if not (0 < len(name) <= _MAX_TEMPLATE_NAME_CHARS and name.isprintable()):
                raise settings.error("name of a chat_template", "a short printable name", name)
            return ("" if name == "default" else name), text
    raise settings.error("chat_template", "name and template", item)


def _read_template(path: Path) -> str:
    try:
        return read_small_file(path, MAX_TEMPLATE_BYTES).decode()
    except UnicodeDecodeError as error:
        raise FormatError.at(
            path, "template", expected="UTF-8 text", found=f"other bytes at {error.start}"
        ) from None
