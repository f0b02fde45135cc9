"""Damaged vocabularies either load and work or are refused with a typed error of one line."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from fake_metadata import FakeMetadata
from timing import cpu_s
from tokenizer.metadata import fake, small_bpe, small_pieces, small_wordpiece

from pyllama_rt.errors import PyllamaRtError
from pyllama_rt.tokenizer.registry import load_tokenizer

N_MUTANTS = 1500
MAX_LOAD_S = 0.5
TEXT = "It's ab  abc\n\n<|end|>[CLS]</s>\x00 play 中é\udcff 123"
BASES: tuple[Callable[[], FakeMetadata], ...] = (
    lambda: fake(small_pieces()),
    small_bpe,
    lambda: small_bpe(pre="llama-bpe", bos_token_id=3, eos_token_id=259),
    lambda: small_bpe(model="gemma4", bos_token_id=3),
    small_wordpiece,
)
_TEXTS = (
    "",
    " ",
    "a",
    "a b",
    "ab c",
    "▁",
    "Ġ",
    "<0x41>",
    "<0x-1>",
    "<|end|>",
    "\n",
    "x" * 600,
    "\x00",
)
_NUMBERS = (-(2**63), -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 260, 2**31, 2**32 - 1, 2**64 - 1)


def damage(rng: random.Random, values: dict[str, object]) -> None:
    """Change one value, or an element of one."""
    key = rng.choice(sorted(values))
    value = values[key]
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        change = rng.randrange(5)
        if change == 0:
            del value[at : at + rng.choice((1, 1, 9, len(value)))]
        elif change == 1:
            value.insert(at, value[rng.randrange(len(value))])
        elif change == 2:
            other = rng.randrange(len(value))
            value[at], value[other] = value[other], value[at]
        elif isinstance(value[at], str):
            value[at] = rng.choice(_TEXTS) if change == 3 else value[at] + rng.choice(_TEXTS)
        else:
            value[at] = rng.choice(_NUMBERS)
        return
    replacements: list[Any] = [*_TEXTS, *_NUMBERS, True, False, ["a"], [1], [], "llama3", "gemma4"]
    values[key] = rng.choice(replacements)
    if rng.random() < 0.3:
        del values[key]


def outcome(meta: FakeMetadata) -> str:
    """Load and use the tokenizer: "loaded", or the class of the typed error."""
    try:
        tokenizer = load_tokenizer(meta, "x.gguf")
        ids = tokenizer.encode(TEXT, special=True, add_bos=None)
        hidden = tokenizer.encode(TEXT, add_bos=False)
    except PyllamaRtError as error:
        message, result = str(error), type(error).__name__
    else:
        message, result = "", "loaded"
    if result != "loaded":
        assert "\n" not in message
        assert len(message) < 900
        return result
    assert all(0 <= token < tokenizer.n_vocab for token in ids)
    nothing = {token for token in hidden if not tokenizer.piece(token)} - {tokenizer.unk_id}
    texts = {tokenizer.piece(token, special=True) for token in nothing}
    assert not texts & {piece.encode() for piece in tokenizer.special_pieces}
    tokenizer.decode(ids, special=True)
    return result


@pytest.mark.parametrize("base", BASES)
def test_the_undamaged_load(base: Callable[[], FakeMetadata]) -> None:
    assert outcome(base()) == "loaded"


def test_mutants(fuzz_rounds: int) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(N_MUTANTS * fuzz_rounds):
        rng = random.Random(seed)
        meta = BASES[seed % len(BASES)]()
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            damage(rng, meta.values)
        start = time.process_time()
        outcomes[outcome(meta)] += 1
        if time.process_time() - start >= MAX_LOAD_S:  # the words, or somebody else?
            assert cpu_s(partial(outcome, meta)) < MAX_LOAD_S, seed
    assert outcomes["loaded"] > N_MUTANTS // 20
    assert outcomes["FormatError"] > N_MUTANTS // 10
    assert outcomes["UnsupportedError"] > 0
