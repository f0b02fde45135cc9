"""Chooses the tokenizer that a model file asks for."""

from __future__ import annotations

from collections.abc import Callable

from pyllama_rt.errors import FormatError, UnsupportedError, did_you_mean, shown
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.tokenizer.protocol import Tokenizer

_KEY = "tokenizer.ggml.model"


def load_tokenizer(meta: MetadataReader, file: object) -> Tokenizer:
    """The tokenizer that the metadata of a model file describe.

    Args:
        meta: The file's metadata. file: Its path, for messages.
    Raises:
        FormatError if the metadata are broken; UnsupportedError if the kind is not known.
    """
    name = meta.get_str(_KEY, None)
    if name is None:
        raise FormatError.at(file, _KEY, expected="a string", found="no such key")
    if name not in _LOADERS:
        raise UnsupportedError(
            f"{file}: tokenizer {shown(name)}{did_you_mean(name, _LOADERS)} is not supported; "
            f"known: {', '.join(_LOADERS)}"
        )
    return _LOADERS[name](meta, file)


def _load_spm(meta: MetadataReader, file: object) -> Tokenizer:
    from pyllama_rt.tokenizer.spm import SpmTokenizer
    from pyllama_rt.tokenizer.vocabulary import Vocabulary

    return SpmTokenizer(Vocabulary.from_metadata(meta, file))


def _load_bpe(meta: MetadataReader, file: object) -> Tokenizer:
    from pyllama_rt.tokenizer.bpe import load_bpe

    return load_bpe(meta, file)


def _load_wordpiece(meta: MetadataReader, file: object) -> Tokenizer:
    from pyllama_rt.tokenizer.wordpiece import load_wordpiece

    return load_wordpiece(meta, file)


_LOADERS: dict[str, Callable[[MetadataReader, object], Tokenizer]] = {
    "llama": _load_spm,
    "gpt2": _load_bpe,
    "gemma4": _load_bpe,
    "bert": _load_wordpiece,
}
"""One loader per value of `tokenizer.ggml.model`; each imports its library when it is called."""
