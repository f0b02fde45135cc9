"""The vocabulary in a Hugging Face directory: `tokenizer.model` and the JSON files around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.convert.vocabulary import ADDED_SCORE, Vocabulary
from pyllama_rt.errors import FormatError, UnsupportedError, shown
from pyllama_rt.small_file import read_small_file
from pyllama_rt.tokenizer.model_proto import (
    BYTE,
    CONTROL,
    NORMAL,
    UNUSED,
    USER_DEFINED,
    read_sentencepiece_model,
)

MAX_TEMPLATE_BYTES = 1 << 20


def read_vocabulary(folder: Path, config: JsonMetadata, n_rows: int) -> Vocabulary:
    """The pieces with everything that the files say about special ones, one for each row.

    Args: config: config.json. n_rows: rows of the embedding.
    Raises: FormatError for files that contradict one another; UnsupportedError for vocabularies of
        other kinds.
    """
    vocabulary = _read_pieces(folder / "tokenizer.model")
    settings = JsonMetadata.read_optional(folder / "tokenizer_config.json")
    special = JsonMetadata.read_optional(folder / "special_tokens_map.json")
    generation = JsonMetadata.read_optional(folder / "generation_config.json")
    texts = _special_texts(settings, special)
    added, source = _added_pieces(folder, settings, set(texts.values()) | _listed(special))
    _add_pieces(vocabulary, added, source, n_rows)
    vocabulary.special_ids.update(_special_ids(vocabulary, texts, config))
    _add_ends(vocabulary, generation, config)
    vocabulary.add_bos = settings.get_bool("add_bos_token", True)
    vocabulary.add_eos = settings.get_bool("add_eos_token", False)
    vocabulary.chat_templates = _chat_templates(folder, settings)
    vocabulary.pad(n_rows)
    return vocabulary


def _read_pieces(path: Path) -> Vocabulary:
    if not path.exists():
        if (path.parent / "tokenizer.json").exists():
            raise UnsupportedError(
                f"{path.parent}: vocabularies in tokenizer.json alone are not supported yet; "
                "put the model's tokenizer.model beside it"
            )
        raise FormatError(
            f"{path.parent}: the checkpoint has no tokenizer.model; fetch it from where the "
            "weights came from"
        )
    model = read_sentencepiece_model(path)
    if model.model_type != "bpe" or model.precompiled_charsmap:
        raise UnsupportedError(
            f"{path}: a {model.model_type} vocabulary with normaliser "
            f"{shown(model.normalizer_name)} is not supported for this architecture; "
            "expected bpe without normalisation"
        )
    ids = {"unk": model.unk_id, "bos": model.bos_id, "eos": model.eos_id, "pad": model.pad_id}
    return Vocabulary(
        source=str(path),
        pieces=list(model.pieces),
        scores=list(model.scores),
        types=list(model.types),
        special_ids={role: token for role, token in ids.items() if token >= 0},
        add_space_prefix=model.add_dummy_prefix,
    )


def _special_texts(settings: JsonMetadata, special: JsonMetadata) -> dict[str, str]:
    """Text of each special piece by role, tokenizer_config.json first."""
    texts: dict[str, str] = {}
    for role in ("bos", "eos", "unk", "pad"):
        for file in (settings, special):
            text = _content(file, f"{role}_token")
            if text is not None:
                texts.setdefault(role, text)
    return texts


def _content(file: JsonMetadata, key: str) -> str | None:
    """A piece that is written either as text or as an object with `content`."""
    key = f"{key}.content" if isinstance(file.get(key), dict) else key
    found: str | None = file.get_str(key, None)
    return found


def _listed(special: JsonMetadata) -> set[str]:
    """The additional special pieces."""
    found = special.get("additional_special_tokens")
    items = found if isinstance(found, list) else []
    texts = (item.get("content") if isinstance(item, dict) else item for item in items)
    return {text for text in texts if isinstance(text, str)}


def _added_pieces(
    folder: Path, settings: JsonMetadata, special: set[str]
) -> tuple[dict[int, tuple[str, int]], object]:
    """Id -> (text, type) of the pieces added to the model's own, and the file that says so."""
    decoder = settings.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        nested = JsonMetadata(decoder, settings.source)
        found: dict[int, tuple[str, int]] = {}
        for key in decoder:
            if not (key.isascii() and key.isdigit() and len(key) < 10):
                raise nested.error("added_tokens_decoder", "ids as keys", key)
            text = nested.get_str(f"{key}.content")
            is_special = nested.get_bool(f"{key}.special", False) or text in special
            found[int(key)] = (text, CONTROL if is_special else USER_DEFINED)
        return found, settings.source
    added = JsonMetadata.read_optional(folder / "added_tokens.json")
    found = {}
    for text in added.values:
        token = _added_id(added, text)
        if token in found:
            raise FormatError.at(
                added.source, shown(text), expected="an id of its own", found=token
            )
        found[token] = (text, CONTROL if text in special else USER_DEFINED)
    return found, added.source


def _added_id(added: JsonMetadata, text: str) -> int:
    token = added.values[text]
    if type(token) is not int or token < 0:
        raise FormatError.at(added.source, shown(text), expected="an id", found=shown(token))
    return token


def _add_pieces(
    vocabulary: Vocabulary, added: dict[int, tuple[str, int]], source: object, n_rows: int
) -> None:
    """Put added pieces at their ids; ids between that nobody names become unused pieces."""
    for token, (text, kind) in sorted(added.items()):
        if token >= n_rows:
            raise FormatError.at(
                source,
                f"id of added piece {shown(text)}",
                expected=f"below {n_rows}, the rows of the embedding",
                found=token,
            )
        if token >= len(vocabulary.pieces):
            vocabulary.pad(token + 1)
        is_same = vocabulary.pieces[token] == text
        if not is_same and vocabulary.types[token] in (NORMAL, BYTE):
            raise FormatError.at(
                source,
                f"id of added piece {shown(text)}",
                expected="an id that is not taken",
                found=f"{token}, which is {shown(vocabulary.pieces[token])}",
            )
        if not is_same or vocabulary.types[token] in (NORMAL, UNUSED):
            vocabulary.pieces[token] = text
            vocabulary.types[token] = kind
            vocabulary.scores[token] = ADDED_SCORE


def _special_ids(
    vocabulary: Vocabulary, texts: dict[str, str], config: JsonMetadata
) -> dict[str, int]:
    """Ids that the tokenizer's files or else config.json name."""
    ids = {}
    for role in ("bos", "eos", "unk", "pad"):
        text = texts.get(role)
        if text in vocabulary.pieces:
            ids[role] = vocabulary.pieces.index(text)
        elif text is not None and role != "pad":  # a padding piece matters in training only
            raise FormatError.at(
                vocabulary.source, f"{role} piece", expected=shown(text), found="no such piece"
            )
        elif role != "unk" and type(config.get(f"{role}_token_id")) is int:
            ids[role] = config.get_int(f"{role}_token_id")
    if ids.get("pad", 0) < 0:  # "none" in older configs
        del ids["pad"]
    return ids


def _add_ends(vocabulary: Vocabulary, generation: JsonMetadata, config: JsonMetadata) -> None:
    """Further ids that end a text; GGUF has names for two besides the end of the text."""
    ends: list[int] = []
    for file in (generation, config):
        if isinstance(file.get("eos_token_id"), list):
            ends += file.get_ints("eos_token_id")
        elif file.has("eos_token_id"):
            ends.append(file.get_int("eos_token_id"))
    eos = vocabulary.special_ids.setdefault("eos", ends[0]) if ends else None
    others = [token for token in dict.fromkeys(ends) if token != eos]
    vocabulary.special_ids.update(zip(("eot", "eom"), others, strict=False))


def _chat_templates(folder: Path, settings: JsonMetadata) -> dict[str, str]:
    """Templates by name; the file `chat_template.jinja` goes before tokenizer_config.json."""
    found: Any = settings.get("chat_template")
    templates: dict[str, str] = {}
    if isinstance(found, str):
        templates[""] = found
    elif isinstance(found, list):
        for item in found:
            if not isinstance(item, dict) or not all(
                isinstance(item.get(key), str) for key in ("name", "template")
            ):
                raise FormatError.at(
                    settings.source,
                    "chat_template",
                    expected="name and template",
                    found=shown(item),
                )
            name = "" if item["name"] == "default" else item["name"]
            templates[name] = item["template"]
    elif found is not None:
        raise settings.error("chat_template", "text", found)
    path = folder / "chat_template.jinja"
    if path.exists():
        templates[""] = _read_template(path)
    return templates


def _read_template(path: Path) -> str:
    try:
        return read_small_file(path, MAX_TEMPLATE_BYTES).decode()
    except UnicodeDecodeError as error:
        raise FormatError.at(
            path, "template", expected="UTF-8 text", found=f"other bytes at {error.start}"
        ) from None
