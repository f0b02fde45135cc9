"""A `tokenizer.model` on its way into GGUF metadata."""

from __future__ import annotations

import re
from pathlib import Path

from pyllama_rt.convert.vocabulary_draft import SpecialId, VocabularyDraft
from pyllama_rt.errors import UnsupportedError, shown
from pyllama_rt.small_file import open_regular
from pyllama_rt.tokenizer.model_proto import read_sentencepiece_model

_TIKTOKEN_LINE = re.compile(rb"[A-Za-z0-9+/]{2,}={0,2} [0-9]{1,7}\r?\n")


def draft_sentencepiece(path: Path) -> VocabularyDraft:
    """The pieces of a SentencePiece model with the special ids that it names.

    Raises: ConfigError if it cannot be opened; FormatError if it is broken; UnsupportedError for
        vocabularies of other kinds.
    """
    with open(open_regular(path), "rb") as file:
        if _TIKTOKEN_LINE.match(file.read(256)):
            raise UnsupportedError(
                f"{path}: the vocabulary is in tiktoken's format, as LLaMA 3 has it, which is not "
                "supported; convert the model's Hugging Face folder, or use a GGUF file of it"
            )
    model = read_sentencepiece_model(path)
    if model.model_type != "bpe" or model.precompiled_charsmap:
        raise UnsupportedError(
            f"{path}: a {model.model_type} vocabulary with normaliser "
            f"{shown(model.normalizer_name)} is not supported for this architecture; "
            "expected bpe without normalisation"
        )
    ids = {"unk": model.unk_id, "bos": model.bos_id, "eos": model.eos_id, "pad": model.pad_id}
    return VocabularyDraft(
        source=path,
        pieces=list(model.pieces),
        scores=list(model.scores),
        types=list(model.types),
        special_ids={role: SpecialId(token, path) for role, token in ids.items() if token >= 0},
        add_space_prefix=model.add_dummy_prefix,
    )
