"""Stop strings in text that arrives in pieces."""

from __future__ import annotations

import random
import time

import pytest

from pyllama_rt.engine.stops import StopScanner
from pyllama_rt.errors import ConfigError


def scan(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    scanner = StopScanner(stops)
    text = "".join(scanner.push(piece) for piece in pieces)
    return text + scanner.flush(), scanner.stopped


def test_stops_at_the_first_complete_stop_string_whatever_the_pieces() -> None:
    rng = random.Random(3)
    for _ in range(2000):
        stops = ["".join(rng.choices("ab", k=rng.randint(1, 4))) for _ in range(rng.randint(0, 3))]
        text = "".join(rng.choices("abc", k=rng.randint(0, 20)))
        cuts = sorted(rng.choices(range(len(text) + 1), k=4))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
        # The stop string that is complete first, of those that end together the longest.
        wanted = text[: min(found)[1]] if found else text
        assert scan(stops, pieces) == (wanted, bool(found))


def test_nothing_that_may_begin_a_stop_string_gets_out_early() -> None:
    scanner = StopScanner(["###"])
    assert scanner.push("one ##") == "one "
    assert scanner.push("# two") == ""
    assert scanner.stopped
    assert scanner.push("three") == scanner.flush() == ""


def test_stop_strings_that_repeat_themselves() -> None:
    for stop, text in (("aabaaa", "aabaabaaab"), ("ababac", "abababac"), ("aaab", "aaaaab")):
        assert scan([stop], list(text)) == (text[: text.index(stop)], True)


def test_long_stop_strings_cost_little() -> None:
    # The last keeps all of the text in question, and none of the others ever begins.
    stops = [*(chr(0x4E00 + i) + "a" * 4095 for i in range(63)), "a" * 4095 + "x"]
    started = time.process_time()
    assert scan(stops, ["a"] * 8000) == ("a" * 8000, False)
    assert time.process_time() - started < 10


def test_what_was_held_back_comes_at_the_end() -> None:
    assert scan(["abc"], ["xa", "b"]) == ("xab", False)


@pytest.mark.parametrize("stops", [[""], ["x" * 5000], ["a"] * 100, [3]])
def test_impossible_stop_strings_are_refused(stops: list[str]) -> None:
    with pytest.raises(ConfigError, match="stop: expected"):
        StopScanner(stops)
