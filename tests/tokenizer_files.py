"""Tiny tokenizers of every kind, trained here, as the `tokenizer.json` of checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from checkpoints import HuggingFace, config
from tokenizer.generated_texts import texts
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

BEGIN, END, TOOL = "<|begin|>", "<|end of text|>", "<tool>"
"""Two special pieces and one that is cut out of every text."""

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_2 = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")


def _corpus() -> list[str]:
    # Like real vocabularies these have no piece with NUL, which sentencepiece takes for an end.
    return [text.replace("\0", "") for text in texts(7, 600, old=True)]


def split(expression: str) -> Any:
    return pre_tokenizers.Split(Regex(expression), "isolated")


def byte_level(*cuts: Any, use_regex: bool = False) -> Any:
    """A pre-tokenizer that cuts by `cuts` one after another, and GPT-2's words if `use_regex`."""
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    return pre_tokenizers.Sequence([*cuts, last]) if cuts else last


def train_byte_level(
    pre_tokenizer: Any, *, begins: bool = False, normalizer: Any = None, **model: Any
) -> dict[str, Any]:
    """A tokenizer.json. Args: begins: whether BEGIN goes before a text. model: for its BPE."""
    library = Tokenizer(models.BPE(**model))
    if normalizer is not None:
        library.normalizer = normalizer
    library.pre_tokenizer = pre_tokenizer
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(_corpus(), trainer)
    library.add_special_tokens([BEGIN, END])
    library.add_tokens([AddedToken(TOOL, normalized=False)])
    if begins:
        library.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    f"{BEGIN}:0 $A:0", special_tokens=[(BEGIN, library.token_to_id(BEGIN))]
                ),
            ]
        )
    return as_json(library)


@lru_cache
def _spaced_merges() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Pieces and merges of a text in which spaces are `▁` and words no borders."""
    library = Tokenizer(models.BPE())
    library.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(
        vocab_size=900, limit_alphabet=300, max_token_length=6, show_progress=False
    )
    library.train_from_iterator(_corpus(), trainer)
    model = as_json(library)["model"]
    return model["vocab"], [(left, right) for left, right in model["merges"]]


def train_spaced(*, normalizer: Any, pre_tokenizer: Any = None, every: bool = False) -> Any:
    """A tokenizer.json as SentencePiece's BPE becomes.

    Args: every: whether it has a merge for every two pieces that make one.
    """
    pieces, merges = _spaced_merges()
    ordered = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *reversed(pieces)]
    vocab = {piece: i for i, piece in enumerate(ordered)}
    if every:
        merges = [
            pair
            for made in dict.fromkeys(left + right for left, right in merges)
            for pair in ((made[:i], made[i:]) for i in range(1, len(made)))
            if pair[0] in pieces and pair[1] in pieces
        ]
    library = Tokenizer(
        models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    library.normalizer = normalizer
    if pre_tokenizer is not None:
        library.pre_tokenizer = pre_tokenizer
    library.add_special_tokens(["<unk>", "<s>", "</s>"])
    library.add_tokens([AddedToken(TOOL, normalized=False)])
    library.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return as_json(library)


def train_wordpiece(*, lowercase: bool = True, strip_accents: bool | None = None) -> Any:
    """BERT's tokenizer.json."""
    library = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents
    )
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=900, limit_alphabet=200, special_tokens=special, show_progress=False
    )
    library.train_from_iterator(_corpus(), trainer)
    library.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return as_json(library)


def as_json(library: Tokenizer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(library.to_str())
    return found


def with_text_merges(file: Mapping[str, Any]) -> dict[str, Any]:
    """The file with merges as older versions wrote them."""
    model = {**file["model"], "merges": [" ".join(pair) for pair in file["model"]["merges"]]}
    return {**file, "model": model}


def n_pieces(file: Mapping[str, Any]) -> int:
    """The number of ids."""
    ids = [*file["model"]["vocab"].values(), *(token["id"] for token in file["added_tokens"])]
    return 1 + int(max(ids))


def checkpoint(file: Any, folder: Path, *, n_rows: int | None = None, **files: Any) -> Path:
    """A LLaMA with the tokenizer.json; `files` are further JSON files without their `.json`."""
    values = config(
        vocab_size=n_rows or n_pieces(file), hidden_size=8, num_attention_heads=2,
        num_hidden_layers=1, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    others = {f"{name}.json": content for name, content in files.items()}
    source = HuggingFace(values, tokenizer=None, files={"tokenizer.json": file, **others})
    return source.write(folder)
