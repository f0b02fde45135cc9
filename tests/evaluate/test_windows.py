"""Where windows begin, and which of their ids are scored."""

from __future__ import annotations

import pytest

from pyllama_rt.cli.demo import DEMO_MODEL
from pyllama_rt.engine.load import load_model
from pyllama_rt.errors import ConfigError
from pyllama_rt.evaluate.windows import WindowConfig, cut_windows, encode_text
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.tokenizer.protocol import Tokenizer
from pyllama_rt.tokenizer.registry import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    with GgufFile.open(DEMO_MODEL) as file:
        return load_tokenizer(file, file.path)


@pytest.mark.parametrize(("n_ctx", "n_scored"), [(3, 1), (4, 1), (5, 2), (8, 3), (9, 4), (32, 15)])
def test_the_second_half_is_scored(tokenizer: Tokenizer, n_ctx: int, n_scored: int) -> None:
    ids = list(range(100, 165))
    windows = cut_windows(tokenizer, ids, WindowConfig(n_ctx))
    assert len(windows) == len(list(windows)) == 65 // n_ctx
    assert windows.n_tokens == n_scored * len(windows)
    for i, window in enumerate(windows):
        assert window.ids == [1, *ids[i * n_ctx + 1 : (i + 1) * n_ctx]]
        assert window.n_scored == n_scored
    assert ids == list(range(100, 165))


def test_sliding_windows_score_every_later_id_once(tokenizer: Tokenizer) -> None:
    ids = list(range(100, 165))
    windows = list(cut_windows(tokenizer, ids, WindowConfig(16, stride=5)))
    scored = [token for window in windows for token in window.ids[-window.n_scored :]]
    assert scored == ids[11 : 11 + len(scored)]
    assert len(scored) == 50
    assert all(len(window.ids) == 16 for window in windows)


def test_a_limit(tokenizer: Tokenizer) -> None:
    ids = list(range(100, 165))
    assert len(cut_windows(tokenizer, ids, WindowConfig(16, limit=2))) == 2
    assert len(cut_windows(tokenizer, ids, WindowConfig(16, limit=9))) == 4


def test_one_window_is_enough_and_less_is_not(tokenizer: Tokenizer) -> None:
    assert len(cut_windows(tokenizer, [7] * 16, WindowConfig(16))) == 1
    with pytest.raises(ConfigError, match=r"15 tokens; expected at least 16.*--ctx"):
        cut_windows(tokenizer, [7] * 15, WindowConfig(16))


@pytest.mark.parametrize(
    ("numbers", "field"),
    [
        ({"n_ctx": 2}, "n_ctx"),
        ({"n_ctx": 1 << 31}, "n_ctx"),
        ({"stride": 0}, "stride"),
        ({"n_ctx": 8, "stride": 8}, "stride: expected a whole number from 1 to 7"),
        ({"limit": 0}, "limit"),
    ],
)
def test_impossible_numbers(numbers: dict[str, int], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        WindowConfig(**numbers)


def test_a_vocabulary_without_bos_keeps_the_first_id() -> None:
    with load_model(DEMO_MODEL) as model:
        assert encode_text(model.tokenizer, "a b")[0] == 1
        tokenizer = model.tokenizer

    class WithoutBos:
        bos_id = 1
        add_bos = False

        def encode(self, text: str, *, add_bos: bool | None = None) -> list[int]:
            return tokenizer.encode(text, add_bos=add_bos)

    bare: Tokenizer = WithoutBos()  # type: ignore[assignment]
    assert encode_text(bare, "a b")[0] != 1
    assert next(iter(cut_windows(bare, [5, 6, 7], WindowConfig(3)))).ids == [5, 6, 7]
