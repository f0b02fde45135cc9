"""What the measured runs of one type come to: medians, ratios, and the bars to be met."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

OURS = "ours"
PEERS = {"peer": "plain buffers", "peer+": "extra buffers"}
"""The two ways in which the peer runs; the better one counts."""

KINDS = ("prompt", "generate")

PROMPT_PEAK, PROMPT_RATIO = 0.55, 1.4
GENERATE_BANDWIDTH, GENERATE_RATIO = 0.9, 1.1


@dataclass(frozen=True, slots=True)
class Round:
    """One run of everybody, and the machine just before. speeds: by name, then by kind."""

    int8_peak: float
    read_bandwidth: float
    speeds: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result. Speeds are medians in tokens per second.

    fraction: of the machine's bound in the same round. bound: the speed that it would allow.
    met: None where it cannot be said.
    """

    type: str
    threads: int
    kind: str
    ours: float
    peer: float | None
    peer_buffers: str | None
    fraction: float | None
    bound: float | None
    bar: str
    met: bool | None

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's."""
        return None if self.peer is None else self.ours / self.peer


def make_row(
    type_: str, threads: int, kind: str, rounds: list[Round], work: dict[str, Any], *, narrow: bool
) -> Row:
    """Args: work: what our worker said of a token. narrow: no more than AVX2 was asked for."""
    ours = statistics.median(r.speeds[OURS][kind] for r in rounds)
    peer, name = _best_peer(rounds, kind)
    cost = work["macs_per_token" if kind == "prompt" else "bytes_per_token"]
    bounds = [(r.int8_peak if kind == "prompt" else r.read_bandwidth) / cost for r in rounds]
    bounded = work["is_quantized"] or kind == "generate"
    fraction = statistics.median(
        r.speeds[OURS][kind] / bound for r, bound in zip(rounds, bounds, strict=True)
    )
    ratio = None if peer is None else ours / peer
    bar, met = _judge(kind, ratio, fraction, plain=narrow or not work["is_quantized"])
    return Row(
        type_, threads, kind, ours, peer, name,
        fraction if bounded else None, statistics.median(bounds) if bounded else None, bar, met,
    )  # fmt: skip


def _best_peer(rounds: list[Round], kind: str) -> tuple[float | None, str | None]:
    medians = {}
    for name, words in PEERS.items():
        found = [r.speeds[name][kind] for r in rounds if name in r.speeds]
        if found:
            medians[words] = statistics.median(found)
    best = max(medians, key=lambda words: medians[words], default=None)
    return (None, None) if best is None else (medians[best], best)


def _judge(kind: str, ratio: float | None, fraction: float, plain: bool) -> tuple[str, bool | None]:
    """The bar in words, and whether it is met."""
    if plain:
        return "1.0 x peer", None if ratio is None else ratio >= 1.0
    if kind == "prompt":
        bar = f"{PROMPT_RATIO} x peer and {PROMPT_PEAK} of bound"
        if fraction < PROMPT_PEAK:
            return bar, False
        return bar, None if ratio is None else ratio >= PROMPT_RATIO
    bar = f"{GENERATE_RATIO} x peer, or 1.0 x and {GENERATE_BANDWIDTH} of bound"
    if ratio is None:
        return bar, None
    enough = ratio >= GENERATE_RATIO or fraction >= GENERATE_BANDWIDTH
    return bar, ratio >= 1.0 and enough
