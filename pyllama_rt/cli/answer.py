"""Writes a model's text to stdout while it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from pyllama_rt.cli.streams import output
from pyllama_rt.config import SamplingConfig
from pyllama_rt.engine.generate import Chunk, generate_text, planned_length
from pyllama_rt.engine.session import Session


@dataclass
class Answer:
    """What was written, and how long it took."""

    text: str = ""
    finish_reason: str | None = None
    interrupted: bool = False
    n_read: int = 0
    read_s: float = 0.0
    n_written: int = 0
    write_s: float = 0.0

    def timings(self) -> str:
        """Both phases in words."""
        read = _phase("prompt", self.n_read, self.read_s)
        return f"{read}, {_phase('text', self.n_written, self.write_s)}"


@dataclass(frozen=True)
class Writer:
    """Streams answers of one session.

    trims: whether spaces before the first word are left out.
    """

    session: Session
    sampling: SamplingConfig
    max_tokens: int | None = None
    stop: Sequence[str] = field(default_factory=tuple)
    trims: bool = False

    def write(self, prompt: Sequence[int]) -> Answer:
        """Continues `prompt`. Ctrl-C ends the text, which is then marked as interrupted."""
        answer = Answer()
        out = output()
        try:
            self._read(prompt, answer)
            started = perf_counter()
            try:
                self._stream(prompt, answer)
            finally:
                answer.write_s = perf_counter() - started
        except KeyboardInterrupt:
            answer.interrupted = True
        if answer.text and not answer.text.endswith("\n"):
            out.write("\n")
        out.flush()
        return answer

    def _read(self, prompt: Sequence[int], answer: Answer) -> None:
        """All but the last token, which the first step of the text reads; so both can be timed."""
        self.session.check_room(len(prompt) - len(self.session.tokens))
        started = perf_counter()
        if len(prompt) > 1:
            self.session.resume(prompt[:-1], planned_length(prompt, self.max_tokens))
            answer.n_read = len(prompt) - 1
        answer.read_s = perf_counter() - started

    def _stream(self, prompt: Sequence[int], answer: Answer) -> None:
        out = output()
        chunks = generate_text(
            self.session, prompt, self.sampling, max_tokens=self.max_tokens, stop=self.stop
        )
        for chunk in chunks:
            text = self._trimmed(chunk, answer)
            out.write(text)
            out.flush()
            answer.text += text
            answer.n_written += len(chunk.tokens)
            answer.finish_reason = chunk.finish_reason

    def _trimmed(self, chunk: Chunk, answer: Answer) -> str:
        return chunk.text.lstrip(" ") if self.trims and not answer.text else chunk.text


def _phase(name: str, n_tokens: int, seconds: float) -> str:
    rate = f" ({n_tokens / seconds:.1f}/s)" if n_tokens and seconds > 0 else ""
    return f"{name} {n_tokens} tokens in {seconds:.2f} s{rate}"
