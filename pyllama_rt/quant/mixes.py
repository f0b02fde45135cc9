"""Which block type every tensor gets: named mixes as data, by llama.cpp's rules for each tensor.

A mix gives most weights its base type and spends more bits where an error hurts more. Files made
here and by llama.cpp from one source hold the same types, so that sizes and scores compare; but
where the base has 3 bits, the embedding takes one over from the head (docs/quantize.md).
Source: what llama.cpp (in llama-cpp-python 0.3.36) chooses; `tests/quant/test_mixes.py` asks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pyllama_rt.errors import ConfigError, FormatError, did_you_mean, shown
from pyllama_rt.formats.tensor_types import TENSOR_TYPES, WEIGHT_TYPES, TensorType


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """What the rules ask of a model.

    gqa: query heads per KV head in the first layer. tied: whether the embedding is the head too.
    has_importance: whether there is an importance matrix.
    """

    architecture: str
    n_layers: int
    gqa: int = 1
    n_experts: int = 0
    tied: bool = False
    has_importance: bool = False

    @classmethod
    def of(
        cls,
        keys: Mapping[str, object],
        tensor_names: Iterable[str],
        *,
        has_importance: bool = False,
    ) -> ModelTraits:
        """The traits in GGUF metadata.

        Raises: FormatError for counts that are missing or no whole numbers above zero.
        """
        arch = str(keys.get("general.architecture", ""))
        heads = _first_count(keys, f"{arch}.attention.head_count", 1)
        return cls(
            architecture=arch,
            n_layers=_first_count(keys, f"{arch}.block_count", None),
            gqa=heads // _first_count(keys, f"{arch}.attention.head_count_kv", heads),
            n_experts=_first_count(keys, f"{arch}.expert_count", 0),
            tied="output.weight" not in set(tensor_names),
            has_importance=has_importance,
        )

    @property
    def is_70b(self) -> bool:
        """LLaMA-2 70B and its like, whose few KV heads make attn_v small and worth more bits."""
        return self.architecture == "llama" and self.n_layers == 80 and self.gqa > 1


@dataclass(frozen=True, slots=True)
class Site:
    """One layer of one model: where a rule is asked about a tensor."""

    layer: int
    model: ModelTraits


Condition = Callable[[Site], bool]
Rules = tuple[tuple[Condition, str], ...]
"""Tried in order; the first that holds names the type, else it is the base type."""


@dataclass(frozen=True, slots=True)
class Mix:
    """A named choice of types.

    file_type: `general.file_type`. base: type of every weight that no rule names. untied: types
    of the embedding and of the head where these are two matrices, None for the base and q6_k.
    eight_experts: type of attn_output in models of exactly eight experts, "" for no change.
    """

    name: str
    file_type: int
    base: str
    untied: tuple[str, str] | None = None
    attn_v: Rules = ()
    ffn_down: Rules = ()
    attn_output: Rules = ()
    eight_experts: str = ""

    @property
    def is_quantized(self) -> bool:
        """False for f32, f16 and bf16, which no rule changes."""
        return TENSOR_TYPES[self.base].is_quantized


def _always(_: Site) -> bool:
    return True


def _wide_gqa(site: Site) -> bool:
    return site.model.gqa >= 4


def _first(n: int) -> Condition:
    return lambda site: site.layer < n


def _first_share(divisor: int) -> Condition:
    return lambda site: site.layer < site.model.n_layers // divisor


def _first_eighth(site: Site) -> bool:
    return site.layer < site.model.n_layers // 8


def _first_eighth_guided(site: Site) -> bool:
    return site.model.has_importance and _first_eighth(site)


def _first_eighth_unguided(site: Site) -> bool:
    return not site.model.has_importance and _first_eighth(site)


def _more_bits(site: Site) -> bool:
    """The first and last eighth of the layers, and every third one between."""
    n, i = site.model.n_layers, site.layer
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


_MORE_Q6: Rules = ((_more_bits, "q6_k"),)
_IQ4_V: Rules = ((_wide_gqa, "q5_k"),)
_IQ4_DOWN: Rules = ((_first_eighth_unguided, "q5_k"),)

_MIXES = (
    Mix("f32", 0, "f32"),
    Mix("f16", 1, "f16"),
    Mix("bf16", 32, "bf16"),
    Mix("q4_0", 2, "q4_0", ffn_down=((_first_eighth_guided, "q4_1"),)),
    Mix("q4_1", 3, "q4_1"),
    Mix("q5_0", 8, "q5_0", ffn_down=((_first_eighth_guided, "q5_1"),)),
    Mix("q5_1", 9, "q5_1"),
    Mix("q8_0", 7, "q8_0"),
    Mix(
        "q2_k", 10, "q2_k",
        attn_v=((_wide_gqa, "q4_k"), (_always, "q3_k")),
        ffn_down=((_always, "q3_k"),),
        attn_output=((_always, "q3_k"),),
        eight_experts="q5_k",
    ),
    Mix(
        "q2_k_s", 21, "q2_k",
        attn_v=((_wide_gqa, "q4_k"),),
        ffn_down=((_first_eighth, "q4_k"),),
    ),
    Mix("q3_k_s", 11, "q3_k", untied=("q4_k", "q5_k"), eight_experts="q5_k"),
    Mix(
        "q3_k_m", 12, "q3_k", untied=("q4_k", "q5_k"),
        attn_v=((_first(2), "q5_k"), (_always, "q4_k")),
        ffn_down=((_first_share(16), "q5_k"), (_always, "q4_k")),
        attn_output=((_always, "q4_k"),),
        eight_experts="q5_k",
    ),
    Mix(
        "q3_k_l", 13, "q3_k", untied=("q4_k", "q5_k"),
        attn_v=((_always, "q5_k"),),
        ffn_down=((_always, "q5_k"),),
        attn_output=((_always, "q5_k"),),
    ),
    Mix(
        "q4_k_s", 14, "q4_k",
        attn_v=((_first(4), "q5_k"),),
        ffn_down=((_first_eighth, "q5_k"),),
        eight_experts="q5_k",
    ),
    Mix("q4_k_m", 15, "q4_k", attn_v=_MORE_Q6, ffn_down=_MORE_Q6, eight_experts="q5_k"),
    Mix("q5_k_s", 16, "q5_k"),
    Mix("q5_k_m", 17, "q5_k", attn_v=_MORE_Q6, ffn_down=_MORE_Q6),
    Mix("q6_k", 18, "q6_k"),
    Mix("iq4_nl", 25, "iq4_nl", attn_v=_IQ4_V, ffn_down=_IQ4_DOWN, eight_experts="q5_k"),
    Mix("iq4_xs", 30, "iq4_xs", attn_v=_IQ4_V, ffn_down=_IQ4_DOWN, eight_experts="q5_k"),
)  # fmt: skip

MIXES: dict[str, Mix] = {mix.name: mix for mix in _MIXES}
"""Every mix by name; a bare type is the mix of its name."""

ALIASES = {"q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m"}
"""Types that stand for their middle mix."""

# A row that is no multiple of 256 falls back to a type of blocks of 32 with as many bits or more.
_FALLBACK = {
    "q2_k": "q4_0",
    "q3_k": "q4_0",
    "q4_k": "q5_0",
    "q5_k": "q5_1",
    "q6_k": "q8_0",
    "iq4_xs": "iq4_nl",
}

_LAYER = re.compile(r"blk\.([0-9]{1,5})\.(\w+)\.")
_NEVER = (
    "_norm.weight",
    "ffn_gate_inp.weight",
    "position_embd.weight",
    "token_types.weight",
)
"""Small or touchy weights of two dimensions: norms per head, routers, learned positions."""


def find_mix(name: str) -> Mix:
    """The mix called `name`, in any letter case.

    Raises: ConfigError listing the choices, with the closest one.
    """
    wanted = name.lower()
    found = MIXES.get(ALIASES.get(wanted, wanted))
    if found is None:
        choices = ", ".join(sorted({*MIXES, *ALIASES}))
        raise ConfigError(
            f"TYPE {shown(name)} is unknown{did_you_mean(wanted, [*MIXES, *ALIASES])}; "
            f"choose from {choices}"
        )
    return found


def is_convertible(name: str, shape: tuple[int, ...]) -> bool:
    """Whether the tensor is a weight whose type a mix may choose; others stay as they are."""
    return len(shape) > 1 and name.endswith(".weight") and not name.endswith(_NEVER)


def choose_type(name: str, mix: Mix, model: ModelTraits, *, pure: bool = False) -> str:
    """The type that a mix gives a convertible tensor, before `fit_to_rows`.

    Args: pure: the base type everywhere.
    """
    if pure or not mix.is_quantized:
        return mix.base
    if name in ("token_embd.weight", "output.weight"):
        return _outer_type(name, mix, model)
    found = _LAYER.match(name)
    if found is None:
        return mix.base
    return _layer_type(found[2], mix, Site(int(found[1]), model))


def fit_to_rows(type_name: str, row: int) -> TensorType:
    """`type_name`, or the type it falls back to for rows of `row` elements."""
    found = TENSOR_TYPES[type_name]
    if row % found.block_size:
        found = TENSOR_TYPES[_FALLBACK.get(type_name, "f16")]
    return TENSOR_TYPES["f16"] if row % found.block_size else found


def parse_override(text: str) -> tuple[re.Pattern[str], str]:
    """`REGEX=TYPE` as a pattern, searched for in tensor names, and a type.

    Raises: ConfigError naming what is wrong.
    """
    pattern, equals, type_name = text.rpartition("=")
    if not equals or not pattern:
        raise ConfigError(f"tensor type {shown(text)}: expected REGEX=TYPE, as in attn_v=q8_0")
    if type_name.lower() not in WEIGHT_TYPES:
        raise ConfigError(
            f"tensor type {shown(text)}: {shown(type_name)} is unknown"
            f"{did_you_mean(type_name.lower(), WEIGHT_TYPES)}; "
            f"choose from {', '.join(WEIGHT_TYPES)}"
        )
    try:
        return re.compile(pattern), type_name.lower()
    except re.error as error:
        raise ConfigError(f"tensor type {shown(text)}: not a regular expression: {error}") from None


def _outer_type(name: str, mix: Mix, model: ModelTraits) -> str:
    head = "q8_0" if mix.base == "q8_0" else "q6_k"
    if model.tied:
        return head
    embedding, head = mix.untied or (mix.base, head)
    return embedding if name == "token_embd.weight" else head


def _layer_type(role: str, mix: Mix, site: Site) -> str:
    experts = site.model.n_experts == 8
    if role in ("attn_v", "attn_qkv"):
        chosen = _apply(mix.attn_v, site, mix.base)
        if site.model.is_70b and chosen in ("q3_k", "q4_k"):
            chosen = "q5_k"
        return "q8_0" if experts else chosen
    if role == "attn_k":
        return "q8_0" if experts else mix.base
    if role == "attn_output":
        if experts:
            return mix.eight_experts or mix.base
        return _apply(mix.attn_output, site, mix.base)
    if role in ("ffn_down", "ffn_down_exps"):
        return _apply(mix.ffn_down, site, mix.base)
    return mix.base


def _apply(rules: Rules, site: Site, base: str) -> str:
    return next((type_name for holds, type_name in rules if holds(site)), base)


def _first_count(keys: Mapping[str, object], key: str, default: int | None) -> int:
    """A count that may be given per layer; the rules look at the first layer, as llama.cpp does."""
    found = keys.get(key, default)
    if isinstance(found, (list, tuple)) and found:
        found = found[0]
    low = 0 if default == 0 else 1
    if isinstance(found, bool) or not isinstance(found, int) or found < low:
        text = "nothing" if found is None else shown(found)
        raise FormatError(f"{key}: expected a whole number from {low}, found {text}")
    return found
