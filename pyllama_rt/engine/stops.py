"""Finds stop strings in text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence

from pyllama_rt.errors import ConfigError

MAX_STOPS = 64
MAX_STOP_LENGTH = 4096


class StopScanner:
    """Lets text through up to the first stop string, holding back what may be the start of one."""

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
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """The text that is now known to stand before any stop string."""
        if self.stopped:
            return ""
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._release(min(found))
        return self._release(len(self._held) - self._n_suspect())

    def flush(self) -> str:
        """What was held back, at the end of the text."""
        return "" if self.stopped else self._release(len(self._held))

    def _release(self, n: int) -> str:
        text, self._held = self._held[:n], self._held[n:]
        return text

    def _n_suspect(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = 0
        for stop in self._stops:
            for n in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if stop.startswith(self._held[-n:]):
                    longest = n
                    break
        return longest
