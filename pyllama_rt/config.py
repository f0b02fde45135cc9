"""Frozen settings that travel between layers; every impossible value is refused on construction."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from pyllama_rt.errors import ConfigError, did_you_mean

KV_TYPES = ("f32", "f16", "q8_0")
"""Types that the key/value cache can store."""

POOLINGS = ("mean", "cls", "last")
"""Ways to make one vector of a text's hidden states: all rows' mean, the first row, the last."""

_OBSERVED = ("squares", "moments")

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


ROPE_KINDS = ("none", "linear", "yarn", "ntk", "adaptive")
"""Ways to reach contexts beyond the trained one; models/rope.py says what each does."""


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """What replaces the rotary positions that a model file asks for; None keeps the file's.

    kind: one of ROPE_KINDS. factor: how many times longer the context is to be: linear and yarn
    divide frequencies by it, ntk raises the base for it (it is the alpha there), adaptive
    multiplies the alpha that follows from each text's length; without a kind it is that of the
    file's. base: of the frequencies.
    n_ctx_original: the context that yarn starts from, by default the trained one.
    attn_factor, beta_fast, beta_slow: yarn's other numbers, by default its paper's.
    """

    kind: str | None = None
    factor: float | None = None
    base: float | None = None
    n_ctx_original: int | None = None
    attn_factor: float | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in ROPE_KINDS:
            found = f"{self.kind!r}{did_you_mean(str(self.kind), ROPE_KINDS)}"
            raise ConfigError(f"rope kind: expected {', '.join(ROPE_KINDS)}, found {found}")
        if self.factor is not None:
            low = 0.01 if self.kind == "adaptive" else 1.0
            check_range("rope factor", self.factor, low, 1e4)
        for name in ("base", "attn_factor", "beta_fast", "beta_slow"):
            if getattr(self, name) is not None:
                check_range(f"rope {name}", getattr(self, name), 1e-6, 1e12)
        if self.n_ctx_original is not None:
            check_int("rope n_ctx_original", self.n_ctx_original, 1, 1 << 30)

    @property
    def is_choice(self) -> bool:
        """Whether anything of the file's is replaced."""
        return (self.kind, self.base, self.factor) != (None, None, None)

    @classmethod
    def parse(cls, text: str) -> RopeConfig:
        """KIND:FACTOR, such as `yarn:4`, or `none` or `adaptive` alone. Raises: ConfigError."""
        kind, colon, factor = text.partition(":")
        try:
            number = float(factor) if colon else None
        except ValueError:
            raise ConfigError(f"rope {text!r}: expected KIND:FACTOR, such as yarn:4") from None
        found = cls(kind, number)
        if number is None and kind in ("linear", "yarn", "ntk"):
            raise ConfigError(f"rope {text!r}: expected a factor, such as {kind}:4")
        return found


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """A LoRA adapter that a model runs with. path: a GGUF file. scale: of what it adds."""

    path: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_range("LoRA scale", self.scale, -1e4, 1e4)

    @classmethod
    def parse(cls, text: str) -> LoraConfig:
        """FILE or FILE:SCALE. Raises: ConfigError for an impossible scale."""
        path, _, scale = text.rpartition(":")
        try:
            number = float(scale)
        except ValueError:  # the colon, if there is one, is part of the name
            return cls(text)
        return cls(path, number) if path else cls(text)


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """How a model is loaded and run.

    n_ctx: cells of the cache, None for min(trained context, 4096). n_threads: threads of a
    one-row step, None for the physical cores that this process may use. n_threads_batch: threads
    of longer steps, None for `n_threads`. n_batch: rows per prefill step. kv_type: cache type.
    rope: what replaces the file's rotary positions. loras: adapters, added in order. embedding:
    give the last hidden states instead of logits. pooling: how they become one vector, None for
    what the file says. observe: for an importance matrix, add up what enters the matrices: its
    "squares", or also the "moments", which are products of columns.
    """

    n_ctx: int | None = None
    n_threads: int | None = None
    n_threads_batch: int | None = None
    n_batch: int = 512
    kv_type: str = "f16"
    rope: RopeConfig = RopeConfig()
    loras: tuple[LoraConfig, ...] = ()
    embedding: bool = False
    pooling: str | None = None
    observe: str | None = None

    def __post_init__(self) -> None:
        if self.n_ctx is not None:
            check_int("n_ctx", self.n_ctx, 1, 1 << 30)
        for name in ("n_threads", "n_threads_batch"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1, MAX_THREADS)
        check_int("n_batch", self.n_batch, 1, 1 << 16)
        if self.kv_type not in KV_TYPES:
            raise ConfigError(f"kv_type: expected {', '.join(KV_TYPES)}, found {self.kv_type!r}")
        if self.pooling not in (None, *POOLINGS):
            raise ConfigError(f"pooling: expected {', '.join(POOLINGS)}, found {self.pooling!r}")
        if self.observe not in (None, *_OBSERVED):
            raise ConfigError(f"observe: expected {', '.join(_OBSERVED)}, found {self.observe!r}")


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
