"""Vocabularies of folders without a `tokenizer.model`: the draft that fits each kind."""

from __future__ import annotations

from pathlib import Path

from pyllama_rt.convert.bpe_draft import draft_byte_level, draft_pair
from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.convert.pre_tokenizer_name import steps
from pyllama_rt.convert.spaced_bpe_draft import draft_spaced
from pyllama_rt.convert.tokenizer_json import (
    AddedPieces,
    read_added,
    read_frame,
    read_merges,
    read_pieces,
    read_tokenizer_json,
)
from pyllama_rt.convert.vocabulary_draft import SpecialId, VocabularyDraft
from pyllama_rt.convert.wordpiece_draft import WordPieceDraft, draft_vocab_txt, draft_wordpiece
from pyllama_rt.errors import FormatError, UnsupportedError, shown

FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt")
"""What may be read instead of a tokenizer.model, the first that is there."""


def draft_without_model(
    folder: Path, settings: JsonMetadata, special: set[str], n_rows: int
) -> tuple[VocabularyDraft, AddedPieces]:
    """The pieces, and which of them text is searched for.

    Args: settings: tokenizer_config.json. special: texts of special pieces that the files around
        name. n_rows: rows of the embedding.
    Raises: FormatError, UnsupportedError.
    """
    json_path, text_path, vocab_path, merges_path = (folder / name for name in FILES)
    if json_path.exists():
        return _draft(read_tokenizer_json(json_path), settings, special, n_rows)
    if text_path.exists():
        return draft_vocab_txt(text_path, settings, special, n_rows)
    if vocab_path.exists() and merges_path.exists():
        return draft_pair(vocab_path, merges_path, settings, special, n_rows)
    raise FormatError(
        f"{folder}: the checkpoint has no tokenizer.model, tokenizer.json, vocab.txt or vocab.json "
        "with merges.txt; fetch what it has from where the weights came from"
    )


def _draft(
    file: JsonMetadata, settings: JsonMetadata, special: set[str], n_rows: int
) -> tuple[VocabularyDraft, AddedPieces]:
    kind = file.get_str("model.type", "BPE")  # which the first versions left out
    if kind not in ("BPE", "WordPiece"):
        raise UnsupportedError(
            f"{file.source}: vocabularies of type {shown(kind)} are not supported; expected BPE or "
            "WordPiece"
        )
    added = read_added(file, special)
    vocab = read_pieces(file.get("model.vocab"), n_rows, file.source)
    if kind == "WordPiece":
        words = draft_wordpiece(file, vocab, added, settings)
        return _framed(words, file, ("cls", "sep")), added
    for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if file.get(f"model.{key}"):
            raise UnsupportedError(
                f"{file.source}: {key} {shown(file.get(f'model.{key}'))} is not supported"
            )
    merges = read_merges(file.get("model.merges"), vocab, file.source)
    cuts = list(steps(file.get("pre_tokenizer"), "pretokenizers", file.source, "pre_tokenizer"))
    if any(step["type"] == "ByteLevel" for step in cuts):
        draft: VocabularyDraft = draft_byte_level(
            file, vocab, merges, added, cuts=cuts, settings=settings
        )
    else:
        draft = draft_spaced(file, vocab, merges, added, cuts)
    return _framed(draft, file, ("bos", "eos")), added


def _framed(draft: VocabularyDraft, file: JsonMetadata, roles: tuple[str, str]) -> VocabularyDraft:
    """The draft with what the post-processor puts around a text, which decides its ids."""
    frame = read_frame(file)
    sides = dict(zip(roles, (frame.before, frame.after), strict=True))
    for role, ids in sides.items():
        if len(ids) > 1 or (isinstance(draft, WordPieceDraft) and not ids):
            expected = "one piece before and one behind" if roles[0] == "cls" else "at most one"
            raise UnsupportedError(
                f"{file.source}: post_processor: {len(ids)} pieces on one side of a text are not "
                f"supported; expected {expected}"
            )
        if ids:
            draft.framed[role] = SpecialId(ids[0], file.source)
    draft.add_bos, draft.add_eos = bool(frame.before), bool(frame.after)
    return draft
