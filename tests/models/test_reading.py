"""Checks on the numbers of a file."""

from __future__ import annotations

import math

import pytest
from fake_metadata import FakeMetadata

from pyllama_rt.errors import FormatError, UnsupportedError
from pyllama_rt.models import reading


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, 1e-60, 1e60])
def test_numbers_must_be_positive_in_single_precision(value: float) -> None:
    with pytest.raises(FormatError, match=r"^eps: expected a positive finite number in single"):
        reading.check_positive("eps", value)


def test_positive_numbers_pass() -> None:
    assert reading.check_positive("eps", 1e-45) == 1e-45
    assert reading.check_count("n", 3, 1, 3) == 3


def test_counts_have_bounds() -> None:
    for value in (0, 4, -(2**80), 10**400):
        with pytest.raises(FormatError, match=r"^n: expected 1 to 3, found ") as caught:
            reading.check_count("n", value, 1, 3)
        assert len(str(caught.value)) < 100


@pytest.mark.parametrize("found", [4, [4, 4, 4]])
def test_one_number_or_one_a_layer(found: object) -> None:
    assert reading.per_layer(FakeMetadata({"heads": found}), "heads", 3) == (4, 4, 4)


def test_layers_may_have_a_default() -> None:
    assert reading.per_layer(FakeMetadata({}), "kv", 2, (3, 5)) == (3, 5)
    assert reading.per_layer(FakeMetadata({"kv": [1, 2]}), "kv", 2, (3, 5)) == (1, 2)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "heads: expected an integer, found no key"),
        (4.0, "heads: expected an integer, found float"),
        ([4, 4], "heads: expected 3 numbers, one a layer, found 2"),
        ([4, 0, 4], "heads: expected 1 to 16777216, found 0"),
        (0, "heads: expected 1 to 16777216, found 0"),
    ],
)
def test_layers_are_checked(found: object, message: str) -> None:
    values = {} if found is None else {"heads": found}
    with pytest.raises(FormatError, match=f"^{message}$"):
        reading.per_layer(FakeMetadata(values), "heads", 3)


def test_strings_are_counted_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    meta = FakeMetadata({"tokens": ["a", "b"]})
    monkeypatch.setattr(meta, "get_strings", None)
    assert reading.n_strings(meta, "tokens") == 2
    with pytest.raises(FormatError, match="tokens: expected an array, found str"):
        reading.n_strings(FakeMetadata({"tokens": "a"}), "tokens")


def test_heads_divide() -> None:
    reading.check_heads("llama.attention", (4, 6), (2, 3))
    with pytest.raises(FormatError, match=r"head_count_kv: expected a divisor of 6 .* layer 1.* 4"):
        reading.check_heads("llama.attention", (4, 6), (2, 4))
    with pytest.raises(FormatError, match="expected a divisor of the width 10, found 4"):
        reading.head_width("heads", 10, 4)


def test_unknown_choices_are_not_supported() -> None:
    reading.check_choice("act", "silu", ("silu", "gelu"))
    with pytest.raises(UnsupportedError, match="act: 'relu' is not supported yet; known: silu, ge"):
        reading.check_choice("act", "relu", ("silu", "gelu"))


def test_messages_take_the_names_of_the_format() -> None:
    with (
        pytest.raises(FormatError, match=r"^theta: expected a positive"),
        reading.renamed({"llama.rope.freq_base": "theta"}),
    ):
        reading.check_positive("llama.rope.freq_base", 0.0)
    with pytest.raises(FormatError, match=r"^other: expected"), reading.renamed({"x": "y"}):
        reading.check_positive("other", 0.0)
