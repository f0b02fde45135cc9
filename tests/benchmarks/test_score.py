"""What benchmarks/score.py makes of measured runs."""

from __future__ import annotations

import pytest
from score import OURS, Round, Row, make_row

WORK = {"macs_per_token": 1e9, "bytes_per_token": 1e8, "is_quantized": True}


def row(
    kind: str, ours: float, peers: tuple[float, float] | None, narrow: bool = False, **work: bool
) -> Row:
    """Three rounds around these speeds, with bounds of 300 and 30 tokens per second."""
    rounds = []
    for off in (-1.0, 0.0, 5.0):
        names = {OURS: ours + off}
        if peers is not None:
            names |= {"peer": peers[0] + off, "peer+": peers[1] + off}
        rounds.append(Round(3e11, 3e9, {name: {kind: v} for name, v in names.items()}))
    return make_row("Q4_0", 2, kind, rounds, {**WORK, **work}, narrow=narrow)


def test_medians_and_the_better_peer() -> None:
    found = row("prompt", 180.0, (100.0, 120.0))
    assert (found.ours, found.peer, found.peer_buffers) == (180.0, 120.0, "extra buffers")
    assert found.ratio == 1.5
    assert found.fraction == pytest.approx(0.6)
    assert found.bound == pytest.approx(300.0)


@pytest.mark.parametrize(
    ("kind", "ours", "peer", "met"),
    [
        ("prompt", 170.0, 120.0, True),
        ("prompt", 160.0, 100.0, False),  # of the peak
        ("prompt", 170.0, 125.0, False),
        ("generate", 22.0, 20.0, True),
        ("generate", 21.0, 20.0, False),
        ("generate", 28.0, 28.0, True),  # the bandwidth is the bound
        ("generate", 28.0, 28.5, False),
    ],
)
def test_the_bars(kind: str, ours: float, peer: float, met: bool) -> None:
    assert row(kind, ours, (peer, 1.0)).met is met


def test_weights_in_floating_point_have_a_bar_of_their_own() -> None:
    for kind, fraction in (("prompt", None), ("generate", pytest.approx(10 / 30))):
        found = row(kind, 10.0, (10.0, 9.0), is_quantized=False)
        assert found.met is True
        assert found.fraction == fraction


def test_avx2_has_a_bar_of_its_own() -> None:
    for kind in ("prompt", "generate"):
        assert row(kind, 10.0, (10.0, 9.0), narrow=True).met is True
        assert row(kind, 10.0, (10.5, 9.0), narrow=True).met is False


def test_without_a_peer_only_a_miss_can_be_said() -> None:
    assert row("prompt", 200.0, None).met is None
    assert row("prompt", 100.0, None).met is False
    assert row("generate", 30.0, None).met is None
    assert row("generate", 30.0, None).ratio is None
