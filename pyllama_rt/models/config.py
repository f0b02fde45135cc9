"""The numbers that describe a transformer, whatever its architecture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pyllama_rt.errors import FormatError
from pyllama_rt.models import reading
from pyllama_rt.models.rope import Rope


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts in each layer's MLP.

    n: experts. n_used: of them each row uses. hidden_dim: width of one. norm: whether the shares of
    those used sum to 1.
    """

    n: int
    n_used: int
    hidden_dim: int
    norm: bool = True

    def __post_init__(self) -> None:
        reading.check_count("expert_count", self.n, 1, reading.MAX_EXPERTS)
        reading.check_count("expert_used_count", self.n_used, 1, self.n)
        reading.check_count("expert_feed_forward_length", self.hidden_dim, 1, reading.MAX_WIDTH)


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Sizes and choices of one network. Tuples hold one entry a layer.

    hidden_dim: width of the MLP. windows: positions that a layer's rows see, 0 for all.
    rope: None where positions are learned. local_rope: of layers with a window, where it differs.
    attn_softcap, final_softcap: caps of scores and of logits, 0 for none.
    query_scale: what scores are multiplied by, 0 for 1 / sqrt(head_dim).
    experts: None for one MLP a layer. n_token_types: rows of the token type embedding.
    causal: whether a row sees only what comes before it. pooling: how rows become one embedding, ""
    for models that write text.
    Errors name the keys of GGUF without the architecture before them.
    """

    n_layers: int
    dim: int
    hidden_dim: tuple[int, ...]
    n_heads: tuple[int, ...]
    n_kv_heads: tuple[int, ...]
    head_dim: int
    vocab_size: int
    n_ctx_train: int
    norm_eps: float
    rope: Rope | None = None
    local_rope: Rope | None = None
    windows: tuple[int, ...] = ()
    attn_softcap: float = 0.0
    final_softcap: float = 0.0
    query_scale: float = 0.0
    experts: Experts | None = None
    n_token_types: int = 0
    causal: bool = True
    pooling: str = ""

    def __post_init__(self) -> None:
        reading.check_count("block_count", self.n_layers, 1, reading.MAX_LAYERS)
        reading.check_count("embedding_length", self.dim, 1, reading.MAX_WIDTH)
        reading.check_heads("attention", self.n_heads, self.n_kv_heads)
        reading.check_count("attention.key_length", self.head_dim, 1, reading.MAX_WIDTH)
        reading.check_count("vocab_size", self.vocab_size, 1, reading.MAX_WIDTH)
        reading.check_count("context_length", self.n_ctx_train, 1, reading.MAX_CONTEXT)
        reading.check_positive("attention.layer_norm_rms_epsilon", self.norm_eps)
        for rope in (self.rope, self.local_rope):
            if rope is not None:
                reading.check_count("rope.dimension_count", rope.dims, 2, self.head_dim)
        for window in self.windows:
            reading.check_count("attention.sliding_window", window, 0, reading.MAX_CONTEXT)
        for key, value in (
            ("attn_logit_softcapping", self.attn_softcap),
            ("final_logit_softcapping", self.final_softcap),
            ("query_scale", self.query_scale),
        ):
            if not (math.isfinite(value) and value >= 0):
                raise FormatError(f"{key}: expected a finite number from 0 on, found {value}")

    def window(self, layer: int) -> int:
        """Positions that a layer's rows see, 0 for all."""
        return self.windows[layer] if self.windows else 0

    def attention_scale(self) -> float:
        """What scores are multiplied by."""
        return self.query_scale or 1 / math.sqrt(self.head_dim)

    def for_context(self, n_ctx: int) -> TransformerConfig:
        """The config for sequences of up to n_ctx positions, which choose LongRoPE's divisors."""
        if self.rope is None or self.rope.kind != "longrope":
            return self
        rope = replace(self.rope, is_long=n_ctx > self.rope.n_ctx_original)
        return replace(self, rope=rope)

    def sizes(self, layer: int) -> dict[str, int]:
        """Sizes behind the symbols of an architecture's tensors, for one layer."""
        q, kv = self.n_heads[layer] * self.head_dim, self.n_kv_heads[layer] * self.head_dim
        experts = self.experts
        return {
            "vocab": self.vocab_size,
            "dim": self.dim,
            "n_ctx": self.n_ctx_train,
            "types": self.n_token_types,
            "q": q,
            "kv": kv,
            "qkv": q + 2 * kv,
            "head": self.head_dim,
            "hidden": self.hidden_dim[layer],
            "2hidden": 2 * self.hidden_dim[layer],
            "experts": experts.n if experts else 0,
            "expert": experts.hidden_dim if experts else 0,
            "n_heads": self.n_heads[layer],
            "n_kv_heads": self.n_kv_heads[layer],
        }
