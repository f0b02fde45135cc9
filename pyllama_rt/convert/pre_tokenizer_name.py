"""GGUF's name for the way in which a `tokenizer.json` cuts text into words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyllama_rt.errors import FormatError, UnsupportedError, shown
from pyllama_rt.tokenizer.pre_tokenizers import (
    DIGIT,
    DIGITS,
    GPT_2,
    PRE_TOKENIZERS,
    PUNCTUATION,
)

Step = Mapping[str, Any]

_SHOWN_CHARS = 600
"""Longer than any expression in use; a user has to recognise the one that is not known."""

_ON_BYTES = frozenset({"[0-9][0-9][0-9]"})
"""Expressions that find in GPT-2's alphabet of bytes what they find in text."""

_NEVER_PUBLISHED = "default"


@dataclass(frozen=True)
class Words:
    """How a text is cut.

    expressions: as `PreTokenizer.published` has them. add_prefix_space: whether a space goes first.
    """

    expressions: tuple[str, ...]
    add_prefix_space: bool


def steps(description: Any, parts: str, source: object, field: str) -> Iterator[Step]:
    """The steps that a `tokenizer.json` describes, those of a Sequence one by one.

    Args: parts: the key of a Sequence's list. field: what is described, for messages.
    Raises: FormatError for what is no description.
    """
    if description is None:
        return
    is_sequence = isinstance(description, dict) and description.get("type") == "Sequence"
    found = description.get(parts) if is_sequence else [description]
    for step in found if isinstance(found, list) else [found]:
        if not (isinstance(step, dict) and isinstance(step.get("type"), str)):
            raise FormatError.at(source, field, expected="a step with a type", found=shown(step))
        yield step


def read_words(description: list[Step], source: object) -> Words:
    """How the steps of a byte-level pre-tokenizer cut.

    Raises: FormatError, or UnsupportedError for steps that no pre-tokenizer of GGUF has.
    """
    expressions: list[str] = []
    add_prefix_space: bool | None = None
    for step in description:
        if step["type"] == "ByteLevel":
            add_prefix_space = _flag(step, "add_prefix_space", True, source)
            if _flag(step, "use_regex", True, source):
                expressions.append(GPT_2)
            continue
        expression = _expression(step, len(description), source)
        if add_prefix_space is not None and expression not in _ON_BYTES:
            raise _unknown(source, "a step behind ByteLevel", expression)
        expressions.append(expression)
    return Words(tuple(expressions), bool(add_prefix_space))


def pre_tokenizer_name(
    words: Words, ignore_merges: bool, merges_suffice: Callable[[], bool], source: object
) -> str:
    """The value of `tokenizer.ggml.pre`.

    Args:
        ignore_merges: Whether a word that is a piece is that piece, whatever the merges give.
        merges_suffice: Tells whether they give the same, so that either will do.
    Raises: UnsupportedError if nothing in GGUF cuts so.
    """
    alike = {
        name: each.ignore_merges
        for name, each in PRE_TOKENIZERS.items()
        if each.byte_level and each.published == words.expressions and name != _NEVER_PUBLISHED
    }
    if not alike:
        raise _unknown(source, "cutting words by", words.expressions)
    for name, ignores in alike.items():
        if ignores == ignore_merges:
            return name
    if not merges_suffice():
        raise UnsupportedError(
            f"{source}: ignore_merges: {ignore_merges} is not supported together with words cut as "
            f"for {' and '.join(alike)}"
        )
    return next(iter(alike))


def _expression(step: Step, n_steps: int, source: object) -> str:
    kind = step["type"]
    if kind == "Digits":
        return DIGIT if _flag(step, "individual_digits", False, source) else DIGITS
    if kind == "Punctuation" and step.get("behavior") == "Contiguous":
        return PUNCTUATION
    pattern = step.get("pattern")
    expression = pattern.get("Regex") if isinstance(pattern, dict) else None
    if kind != "Split" or not isinstance(expression, str):
        raise _unknown(source, "the step", dict(step))
    behavior = (step.get("behavior"), _flag(step, "invert", False, source))
    # Keeping only what matches is the same where everything does; n_steps: this and ByteLevel.
    if behavior != ("Isolated", False) and not (behavior == ("Removed", True) and n_steps <= 2):
        raise _unknown(source, "the step", dict(step))
    return expression


def _flag(step: Step, key: str, default: bool, source: object) -> bool:
    found = step.get(key, default)
    if type(found) is not bool:
        raise FormatError.at(source, key, expected="true or false", found=shown(found))
    return found


def _unknown(source: object, what: str, found: object) -> UnsupportedError:
    return UnsupportedError(
        f"{source}: pre_tokenizer: {what} {shown(found, _SHOWN_CHARS)} is not supported; no name "
        "that GGUF has for pre-tokenizers stands for it"
    )
