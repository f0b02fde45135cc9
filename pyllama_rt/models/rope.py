"""Rotary positions: how fast each pair of a head turns, and what is done to reach longer contexts.

Sources: arXiv:2104.09864 (rotary positions); arXiv:2306.15595 (linear: position interpolation);
arXiv:2309.00071 (NTK-aware base, section 3.1, and YaRN, sections 3.2 to 3.4); arXiv:2407.21783
(LLaMA 3.1's divisors, as transformers has them); arXiv:2402.13753 (LongRoPE).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pyllama_rt.config import RopeConfig
from pyllama_rt.errors import FormatError
from pyllama_rt.models import reading

KINDS = ("none", "linear", "yarn", "longrope")
"""As GGUF's `rope.scaling.type` names them. LLaMA 3's divisors have no kind: they are a tensor."""


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary positions of a model.

    dims: elements of a head that rotate. base: of the frequencies. kind: one of KINDS.
    factor: how much longer the context became (linear, yarn). n_ctx_original: the context before
    (yarn, longrope). magnitude: what cosines and sines are multiplied by, before YaRN's own.
    beta_fast, beta_slow: turns within n_ctx_original above which a pair keeps its speed, and below
    which it is interpolated (yarn). is_long: whether the context needs LongRoPE's long divisors.
    keeps_divisors: False where a user wants the plain rotation.
    divisors, short_divisors, long_divisors: of the frequencies, from a checkpoint; in GGUF they are
    tensors instead.
    """

    dims: int
    base: float = 10000.0
    kind: str = "none"
    factor: float = 1.0
    n_ctx_original: int = 0
    magnitude: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    is_long: bool = False
    keeps_divisors: bool = True
    divisors: tuple[float, ...] = ()
    short_divisors: tuple[float, ...] = ()
    long_divisors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        reading.check_choice("rope.scaling.type", self.kind, KINDS)
        reading.check_count("rope.dimension_count", self.dims, 2, reading.MAX_WIDTH)
        if self.dims % 2:
            raise FormatError(f"rope.dimension_count: expected an even number, found {self.dims}")
        reading.check_positive("rope.freq_base", self.base)
        reading.check_positive("rope.scaling.factor", self.factor)
        reading.check_positive("rope.scaling.attn_factor", self.magnitude)
        if self.kind in ("yarn", "longrope"):
            key = "rope.scaling.original_context_length"
            reading.check_count(key, self.n_ctx_original, 1, reading.MAX_CONTEXT)
        if not 1e-3 <= self.beta_slow < self.beta_fast <= 1e6:
            raise FormatError(
                "rope.scaling.yarn_beta_fast: expected more than yarn_beta_slow, found "
                f"{self.beta_fast} and {self.beta_slow}"
            )
        for name in ("divisors", "short_divisors", "long_divisors"):
            values = getattr(self, name)
            if values and (len(values) != self.dims // 2 or not all(0 < v < 1e30 for v in values)):
                raise FormatError(
                    f"rope {name}: expected {self.dims // 2} positive numbers, found {len(values)}"
                )

    def frequencies(self) -> list[float]:
        """Radians a position for each of dims / 2 pairs, before divisors."""
        plain = [1.0 / self.base ** (2 * i / self.dims) for i in range(self.dims // 2)]
        if self.kind == "linear":
            return [f / self.factor for f in plain]
        if self.kind == "yarn":
            return self._yarn(plain)
        return plain

    def full_magnitude(self) -> float:
        """What cosines and sines are multiplied by."""
        own = 0.1 * math.log(max(self.factor, 1.0)) + 1.0 if self.kind == "yarn" else 1.0
        return self.magnitude * own

    def _yarn(self, plain: list[float]) -> list[float]:
        """Fast pairs as they are, slow ones interpolated, a ramp between."""
        low = max(math.floor(self._pair_of(self.beta_fast)), 0)
        high = min(math.ceil(self._pair_of(self.beta_slow)), self.dims - 1)
        width = max(high - low, 0.001)
        scaled = []
        for i, frequency in enumerate(plain):
            kept = 1.0 - min(max((i - low) / width, 0.0), 1.0)
            scaled.append(frequency * (kept + (1.0 - kept) / self.factor))
        return scaled

    def _pair_of(self, turns: float) -> float:
        """The pair that makes so many turns within the original context."""
        angle = self.n_ctx_original / (turns * 2 * math.pi)
        return self.dims * math.log(angle) / (2 * math.log(self.base)) if self.base != 1 else 0.0


def overridden(rope: Rope, config: RopeConfig, n_ctx_train: int) -> Rope:
    """The rotary positions that a user asks for instead of the file's.

    ntk: a fixed alpha. adaptive: the file's, whose base each sequence scales by its own alpha.
    Raises: FormatError for numbers that do not fit together.
    """
    factor = rope.factor if config.factor is None else config.factor
    if config.base is not None:
        rope = replace(rope, base=config.base)
    if config.kind is None and config.factor is not None:
        return replace(rope, kind="linear" if rope.kind == "none" else rope.kind, factor=factor)
    if config.kind in ("none", "linear", "ntk"):
        magnitude = rope.magnitude if rope.kind == "longrope" and config.kind != "none" else 1.0
        rope = replace(rope, kind="none", factor=1.0, magnitude=magnitude)
        rope = replace(rope, keeps_divisors=config.kind != "none")
    if config.kind == "linear":
        return replace(rope, kind="linear", factor=factor)
    if config.kind == "ntk":
        return replace(rope, base=ntk_base(rope.base, factor, rope.dims))
    if config.kind != "yarn":
        return rope
    return replace(
        rope,
        kind="yarn",
        factor=factor,
        n_ctx_original=config.n_ctx_original or rope.n_ctx_original or n_ctx_train,
        magnitude=config.attn_factor or 1.0,
        beta_fast=config.beta_fast or 32.0,
        beta_slow=config.beta_slow or 1.0,
    )


def adaptive_alpha(n_tokens: int, n_ctx_train: int, factor: float = 1.0) -> float:
    """The alpha of a text of so many tokens: factor * (2 * n_tokens / n_ctx_train - 1), at least 1.

    Source: the length-adaptive NTK of Chinese-LLaMA-Alpaca-2 (factor 1; the first generation
    multiplies by 1.1), which recomputes it while a text grows.
    """
    if n_tokens <= n_ctx_train:
        return 1.0
    return max(1.0, factor * (2 * n_tokens / n_ctx_train - 1))


def ntk_base(base: float, alpha: float, dims: int) -> float:
    """The NTK-aware base for a context alpha times as long."""
    return base * alpha ** (dims / (dims - 2)) if dims > 2 else base


def llama3_divisors(
    rope: Rope, *, factor: float, low: float, high: float, n_ctx_original: int
) -> tuple[float, ...]:
    """LLaMA 3.1's divisors: slow pairs by `factor`, fast ones by 1, a ramp between.

    Args: low, high: turns within n_ctx_original below which a pair is slow, above which fast.
    """
    divisors = []
    for i in range(rope.dims // 2):
        turns = n_ctx_original * rope.base ** (-2 * i / rope.dims) / (2 * math.pi)
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        divisors.append(1.0 / ((1.0 - smooth) / factor + smooth))
    return tuple(divisors)


def longrope_magnitude(factor: float, n_ctx_original: int) -> float:
    """LongRoPE's magnitude for a context `factor` times the original."""
    if factor <= 1 or n_ctx_original <= 1:
        return 1.0
    return math.sqrt(1.0 + math.log(factor) / math.log(n_ctx_original))
