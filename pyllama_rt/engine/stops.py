"""Finds stop strings in text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence

from pyllama_rt.errors import ConfigError

MAX_STOPS = 64
MAX_STOP_LENGTH = 4096


class StopScanner:
    """Lets text through up to the first stop string, holding back what may be the start of one.

    Of several stop strings the one that is complete first counts, of those that end together the
    longest; so the result does not depend on how the text was cut into pieces. The work grows with
    the text times the stop strings, whatever they have in common.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises ConfigError for an empty stop string, or too many or too long ones."""
        if len(stops) > MAX_STOPS:
            raise ConfigError(f"stop: expected at most {MAX_STOPS} strings, found {len(stops)}")
        for stop in stops:
            if not isinstance(stop, str) or not 0 < len(stop) <= MAX_STOP_LENGTH:
                raise ConfigError(
                    f"stop: expected strings of 1 to {MAX_STOP_LENGTH} characters, found one of "
                    f"{len(stop) if isinstance(stop, str) else type(stop).__name__}"
                )
        self._matchers = [_Matcher(stop) for stop in stops]
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """The text that is now known to stand before any stop string."""
        if self.stopped:
            return ""
        self._held, n_before = self._held + text, len(self._held)
        for i, character in enumerate(text, n_before + 1):
            complete = 0
            for matcher in self._matchers:
                if matcher.push(character):
                    complete = max(complete, len(matcher.stop))
            if complete:
                self.stopped = True
                return self._release(i - complete)
        suspect = max((matcher.n_matched for matcher in self._matchers), default=0)
        return self._release(len(self._held) - suspect)

    def flush(self) -> str:
        """What was held back, at the end of the text."""
        return "" if self.stopped else self._release(len(self._held))

    def _release(self, n: int) -> str:
        text, self._held = self._held[:n], self._held[n:]
        return text


class _Matcher:
    """How much of one stop string the text so far ends with.

    Source: Knuth, Morris, Pratt, "Fast pattern matching in strings", SIAM J. Comput. 6 (1977).
    """

    def __init__(self, stop: str) -> None:
        self.stop = stop
        self.n_matched = 0
        # For n matched characters, the longest shorter beginning that they also end with; as far
        # as a match has ever come.
        self._shorter = [0, 0]

    def push(self, character: str) -> bool:
        """Whether the text with one more character ends with the whole stop string."""
        self.n_matched = self._extended(self.n_matched, character)
        if self.n_matched == len(self._shorter):
            before, added = self._shorter[-1], self.stop[self.n_matched - 1]
            self._shorter.append(self._extended(before, added))
        return self.n_matched == len(self.stop)

    def _extended(self, n: int, character: str) -> int:
        """What is matched when a character follows n matched ones."""
        while n and self.stop[n] != character:
            n = self._shorter[n]
        return n + (self.stop[n] == character)
