"""Files of log-probabilities: written by hand and read, written and read, damaged."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scored_models import IDS, N_CTX, plain_logs, write_pair

from pyllama_rt.config import LoadConfig
from pyllama_rt.engine.load import load_model
from pyllama_rt.errors import ConfigError, FormatError, ResourceError
from pyllama_rt.evaluate.base_file import BaseFile
from pyllama_rt.evaluate.base_writer import BaseWriter, write_base
from pyllama_rt.evaluate.baseline import Baseline
from pyllama_rt.evaluate.divergence import compare
from pyllama_rt.evaluate.perplexity import measure_perplexity
from pyllama_rt.evaluate.scored_rows import ScoredRows, log_sum_exp
from pyllama_rt.evaluate.windows import WindowConfig, Windows, cut_windows

CONFIG = LoadConfig(n_ctx=N_CTX)

# Two windows of four ids with a vocabulary of three, so one scored id and one padded code each.
HEAD = b"_logits_" + struct.pack("<3i", 4, 3, 2) + struct.pack("<8i", 0, 1, 2, 0, 1, 2, 0, 1)
ROWS = (
    struct.pack("<2f4H", 0.5, -3.0, 0, 4, 5, 0xFFFF),
    struct.pack("<2f4H", 1.0, -16.5, 0, 16, 1, 0xFFFF),
)
HAND = HEAD + b"".join(ROWS)


@pytest.fixture
def hand(tmp_path: Path) -> Path:
    path = tmp_path / "hand.kld"
    path.write_bytes(HAND)
    return path


def test_a_file_made_by_hand(hand: Path) -> None:
    with BaseFile(hand) as base:
        assert (base.n_ctx, base.n_vocab, base.n_windows, base.n_rows) == (4, 3, 2, 2)
        assert base.ids.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
        found = base.rows(0, np.array([0, 1]))
        second = base.rows(1, np.array([1]))
    logs = np.array([[-3.0, -1.0, -0.5], [-16.5, -0.5, -15.5]])
    p = np.exp(logs)
    p[1, 0] = 0  # 16 nats and more are clipped
    np.testing.assert_allclose(found.probabilities, p, rtol=1e-12)
    np.testing.assert_allclose(found.self_terms, (p * logs).sum(axis=1), rtol=1e-12)
    assert found.losses.tolist() == [3.0, 0.5]
    assert found.best.tolist() == [2, 1]
    np.testing.assert_array_equal(second.probabilities[0], found.probabilities[1])


def rows_of(logits: list[list[float]]) -> ScoredRows:
    wide = np.array(logits)
    return ScoredRows(wide, log_sum_exp(wide), np.zeros(len(wide), np.int64))


def test_what_is_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "out.kld"
    windows = Windows([0, 1, 2, 0, 1, 2, 0, 1, 2], 4, 4, 1, 2, None)
    with write_base(path, windows, 3) as writer:
        writer.add(rows_of([[1.0, 2.0, -40.0]]))
        writer.add(rows_of([[5.0, 5.0, 5.0]]))
    raw = path.read_bytes()
    assert raw[: len(HEAD)] == HEAD
    scale, low, *codes = struct.unpack_from("<2f4H", raw, len(HEAD))
    assert scale == np.float32(16 / 65535)
    assert low == pytest.approx(-14 - np.log(np.exp(1) + np.exp(2)), rel=1e-6)
    assert codes == [round(15 / 16 * 65535), 65535, 0, 0]
    scale, low, *codes = struct.unpack_from("<2f4H", raw, len(HEAD) + 16)
    assert (scale, codes) == (0, [0, 0, 0, 0])
    assert low == pytest.approx(-np.log(3))
    assert len(raw) == len(HAND)


def test_as_a_base_it_says_nearly_what_was_put_in(tmp_path: Path) -> None:
    paths = write_pair(tmp_path)
    out = tmp_path / "base.kld"
    with load_model(paths[0], CONFIG) as exact, load_model(paths[1], CONFIG) as small:
        windows = cut_windows(exact.tokenizer, IDS, WindowConfig(N_CTX))
        with write_base(out, windows, exact.n_vocab) as writer:
            measure_perplexity(exact, windows, keep=writer.add)
        logs, targets = plain_logs(exact, windows)
        with BaseFile(out) as base, Baseline(exact, windows) as exactly:
            assert base.ids.tolist() == IDS[:64]
            base.check_ids(IDS)
            rows = base.rows(0, targets)
            found, expected = (compare(small, windows, b) for b in (base, exactly))
    np.testing.assert_allclose(rows.losses, -logs[np.arange(len(targets)), targets], atol=2e-4)
    np.testing.assert_allclose(rows.probabilities, np.exp(logs), atol=1e-4)
    assert found.kl.value == pytest.approx(expected.kl.value, rel=1e-3)
    assert found.kl_percentiles[99] == pytest.approx(expected.kl_percentiles[99], rel=0.02)
    assert found.ratio.value == pytest.approx(expected.ratio.value, rel=1e-4)
    assert found.perplexity.perplexity == expected.perplexity.perplexity


def test_the_text_must_be_the_same(hand: Path) -> None:
    with BaseFile(hand) as base:
        base.check_ids([0, 1, 2, 0, 1, 2, 0, 1, 2, 2])
        for ids, where in (([0, 1, 2, 2, 1, 2, 0, 1], 3), ([0, 1, 2], 3), ([], 0)):
            with pytest.raises(ConfigError, match=f"another text.*token {where} "):
                base.check_ids(ids)


def with_number(at: int, value: int) -> Callable[[bytes], bytes]:
    """Another i32 at a place."""
    return lambda raw: raw[:at] + struct.pack("<i", value) + raw[at + 4 :]


def with_head(scale: float, low: float) -> Callable[[bytes], bytes]:
    """Another scale and minimum of the second row."""
    at = len(HEAD) + 16
    return lambda raw: raw[:at] + struct.pack("<2f", scale, low) + raw[at + 8 :]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: b"", "magic at byte 0"),
        (lambda raw: b"GGUF" + raw[4:], "magic at byte 0"),
        (lambda raw: raw[:19], "header at byte 0: expected 20 bytes, found 19"),
        (with_number(8, 2), "n_ctx at byte 8: expected at least 3, found 2"),
        (with_number(8, -1), "n_ctx at byte 8"),
        (with_number(12, 0), "n_vocab at byte 12"),
        (with_number(16, -5), "n_windows at byte 16"),
        (with_number(16, 0x7FFFFFFF), "size at byte 84"),
        (with_number(8, 0x7FFFFFFF), "size at byte 84"),
        (with_number(12, 0x7FFFFFFF), "size at byte 84"),
        (lambda raw: raw[:-1], "size at byte 83: expected 84 bytes for 2 windows of 4 tokens"),
        (with_number(24, 3), "token at byte 24: expected 0 to 2, found 3"),
        (with_number(24, -1), "token at byte 24: expected 0 to 2, found -1"),
    ],
)
def test_damaged_files(hand: Path, change: Callable[[bytes], bytes], words: str) -> None:
    hand.write_bytes(change(HAND))
    with pytest.raises(FormatError) as caught:
        BaseFile(hand)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{hand}: ")


@pytest.mark.parametrize(
    ("scale", "low"),
    [
        *((np.nan, -1), (np.inf, -1), (-1, -1), (1e30, -5), (1, -5)),
        *((1, np.nan), (1, -np.inf), (1, -1e30)),
    ],
)
def test_impossible_rows(hand: Path, scale: float, low: float) -> None:
    hand.write_bytes(with_head(scale, low)(HAND))
    with BaseFile(hand) as base:
        base.rows(0, np.array([0]))
        with pytest.raises(FormatError, match="scale and minimum at byte 68: expected log-prob"):
            base.rows(0, np.array([0, 0]))


def test_every_byte_changed_is_read_or_refused(hand: Path) -> None:
    for at in range(len(HAND)):
        for value in (0x00, 0xFF, HAND[at] ^ 0x80, (HAND[at] + 1) % 256):
            hand.write_bytes(HAND[:at] + bytes([value]) + HAND[at + 1 :])
            try:
                with BaseFile(hand) as base:
                    targets = np.zeros(base.n_rows, np.int64)
                    assert np.isfinite(base.rows(0, targets).self_terms).all()
            except FormatError:
                continue


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "wide.kld"
    head = b"_logits_" + struct.pack("<3i4i", 4, 50_000, 1, 0, 0, 0, 0)
    path.write_bytes(head + bytes(8 + 100_000))
    with BaseFile(path) as base:
        base.rows(0, np.array([0]))
        path.write_bytes(head + bytes(99))
        with pytest.raises(FormatError, match="rows at byte 36: expected 100008 bytes, found"):
            base.rows(0, np.array([0]))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ResourceError("full")])
def test_nothing_is_left_behind(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        windows = Windows([0, 1, 2, 0], 4, 4, 1, 1, None)
        with write_base(tmp_path / "out.kld", windows, 3):
            raise error

    with pytest.raises(type(error)):
        fail()
    assert not list(tmp_path.iterdir())


def test_sliding_windows_have_no_place_in_it(tmp_path: Path) -> None:
    windows = Windows([0] * 9, 4, 2, 2, 2, None)
    with pytest.raises(ConfigError, match="stride"), write_base(tmp_path / "o", windows, 3) as out:
        assert isinstance(out, BaseWriter)
    assert not list(tmp_path.iterdir())
