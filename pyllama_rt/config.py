"""Frozen settings that travel between layers; every impossible value is refused on construction."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from pyllama_rt.errors import ConfigError

KV_TYPES = ("f32", "f16", "q8_0")
"""Types that the key/value cache can store."""

DEFAULT_N_CTX = 4096
"""Context when none is asked for: min(trained context, this)."""

MAX_THREADS = 512
"""More threads than this is taken for a typing error."""


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises ConfigError unless `low <= value <= high` (NaN fails)."""
    if not low <= value <= high:
        raise ConfigError(f"{name}: expected a number from {low:g} to {high:g}, found {value!r}")


def check_int(name: str, value: object, low: int, high: int) -> None:
    """Raises ConfigError unless `value` is an int (no bool) from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name}: expected a whole number, found {value!r}")
    if not low <= value <= high:
        raise ConfigError(f"{name}: expected a whole number from {low} to {high}, found {value}")


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """How a model is loaded and run.

    n_ctx: cells of the cache, None for min(trained context, 4096). n_threads: threads of a
    one-row step, None for the physical cores that this process may use. n_threads_batch: threads
    of longer steps, None for `n_threads`. n_batch: rows per prefill step. kv_type: cache type.
    """

    n_ctx: int | None = None
    n_threads: int | None = None
    n_threads_batch: int | None = None
    n_batch: int = 512
    kv_type: str = "f16"

    def __post_init__(self) -> None:
        if self.n_ctx is not None:
            check_int("n_ctx", self.n_ctx, 1, 1 << 30)
        for name in ("n_threads", "n_threads_batch"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1, MAX_THREADS)
        check_int("n_batch", self.n_batch, 1, 1 << 16)
        if self.kv_type not in KV_TYPES:
            raise ConfigError(f"kv_type: expected {', '.join(KV_TYPES)}, found {self.kv_type!r}")


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """The sampler chain of one request, in the order in which it is applied.

    repeat_penalty (>1 lowers tokens seen in the last `repeat_last_n`), frequency_penalty and
    presence_penalty likewise; top_k (0: all), top_p, min_p (share of the best probability),
    temperature (0: greedy). seed: None for a random one.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repeat_last_n: int = 64
    seed: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("top_k", "repeat_last_n", "seed") or value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigError(f"{field.name}: expected a number, found {value!r}")
            if not math.isfinite(value):
                raise ConfigError(f"{field.name}: expected a finite number, found {value!r}")
        check_range("temperature", self.temperature, 0.0, 100.0)
        check_int("top_k", self.top_k, 0, (1 << 31) - 1)
        check_range("top_p", self.top_p, 0.0, 1.0)
        check_range("min_p", self.min_p, 0.0, 1.0)
        if not 0.0 < self.repeat_penalty <= 100.0:
            found = repr(self.repeat_penalty)
            raise ConfigError(f"repeat_penalty: expected a number above 0 up to 100, found {found}")
        check_range("frequency_penalty", self.frequency_penalty, -100.0, 100.0)
        check_range("presence_penalty", self.presence_penalty, -100.0, 100.0)
        check_int("repeat_last_n", self.repeat_last_n, 0, 1 << 20)
        if self.seed is not None:
            check_int("seed", self.seed, 0, (1 << 64) - 1)
