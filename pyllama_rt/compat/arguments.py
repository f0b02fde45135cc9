"""Arguments as users of llama-cpp-python give them, to what the engine takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.config import KV_TYPES, check_int, check_range
from pyllama_rt.engine.generate import LogitsProcessor, StoppingCriterion
from pyllama_rt.engine.stops import StopScanner
from pyllama_rt.errors import ConfigError, did_you_mean, shown

Ids = NDArray[np.intc]
Scores = NDArray[np.float32]
TheirProcessor = Callable[[Ids, Scores], Scores]
TheirCriterion = Callable[[Ids, Scores], bool]
F = TypeVar("F", bound=Callable[..., Any])

RANDOM_SEEDS = (None, -1, 0xFFFFFFFF)
"""What means "a new seed each time"."""

MAX_LOGIT_BIAS = 1000.0

_ANY = object()
_NONE: tuple[object, ...] = (None,)

LOAD_NEUTRAL: dict[str, object] = {
    "n_gpu_layers": _ANY,
    "split_mode": _ANY,
    "main_gpu": _ANY,
    "tensor_split": _ANY,
    "use_mmap": _ANY,
    "use_mlock": _ANY,
    "kv_overrides": _NONE,
    "n_ubatch": _ANY,
    "rope_scaling_type": _ANY,
    "pooling_type": (-1, 1, 2, 3),
    "attention_type": (-1,),
    "rope_freq_base": _ANY,
    "rope_freq_scale": _ANY,
    "yarn_ext_factor": _ANY,
    "yarn_attn_factor": _ANY,
    "yarn_beta_fast": _ANY,
    "yarn_beta_slow": _ANY,
    "yarn_orig_ctx": _ANY,
    "embedding": (False, True),
    "offload_kqv": _ANY,
    "flash_attn": _ANY,
    "op_offload": _ANY,
    "swa_full": _ANY,
    "no_perf": _ANY,
    "lora_base": _NONE,
    "lora_scale": _ANY,
    "lora_path": _ANY,
    "numa": _ANY,
    "chat_handler": _NONE,
    "draft_model": _NONE,
    "tokenizer": _NONE,
    "spm_infill": (False,),
}
"""What llama-cpp-python's `Llama` also takes, and the values that ask for nothing we lack.

Any value where ignoring it changes no result (where memory lies, how a GPU would be used) or where
`Llama` looks at it.
"""

SAMPLING_NEUTRAL: dict[str, object] = {
    "typical_p": (1.0,),
    "tfs_z": _ANY,
    "mirostat_mode": (0,),
    "mirostat_tau": _ANY,
    "mirostat_eta": _ANY,
    "penalize_nl": _ANY,
    "grammar": _NONE,
}
"""The same for every method that samples; tfs_z is ignored there too."""

COMPLETION_NEUTRAL: dict[str, object] = {**SAMPLING_NEUTRAL, "suffix": _NONE}
"""The same for `create_completion`."""

CHAT_NEUTRAL: dict[str, object] = {
    **SAMPLING_NEUTRAL,
    "functions": _NONE,
    "function_call": _NONE,
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
}
"""The same for `create_chat_completion`."""


class LogitsProcessorList(list[TheirProcessor]):
    """Logits processors that are called one after the other."""

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores after the last one."""
        for process in self:
            scores = process(input_ids, scores)
        return scores


class StoppingCriteriaList(list[TheirCriterion]):
    """Stopping criteria, any of which ends the text."""

    def __call__(self, input_ids: Ids, logits: Scores) -> bool:
        """Whether one of them is met."""
        return any(criterion(input_ids, logits) for criterion in self)


def check_neutral(where: str, accepted: Mapping[str, object], given: Mapping[str, object]) -> None:
    """Lets arguments pass that ask for nothing.

    Raises: TypeError for an unknown name, ConfigError for a value that would have an effect.
    """
    for name, value in given.items():
        if name not in accepted:
            raise TypeError(
                f"{where}() got an unexpected keyword argument {name!r}"
                f"{did_you_mean(name, accepted)}"
            )
        values = accepted[name]
        if isinstance(values, tuple) and value not in values:
            choices = " or ".join(map(repr, values))
            raise ConfigError(
                f"{name}: this version takes only {choices} (it is there for compatibility), "
                f"found {shown(value)}"
            )


def cache_type(type_k: str | int | None, type_v: str | int | None) -> str:
    """The cache type of both keys and values, by name or by ggml's number."""
    names = {None: "f16", 0: "f32", 1: "f16", 8: "q8_0"} | {name: name for name in KV_TYPES}
    for name, value in (("type_k", type_k), ("type_v", type_v)):
        if value not in names:
            raise ConfigError(f"{name}: expected 'f16', 'f32' or 'q8_0', found {shown(value)}")
    if names[type_k] != names[type_v]:
        raise ConfigError(
            f"type_k and type_v: expected the same type, found {shown(type_k)} and {shown(type_v)}"
        )
    return names[type_k]


def checked_ids(tokens: Iterable[int], n_vocab: int) -> list[int]:
    """The ids as a list. Raises: ConfigError for one that is none."""
    try:
        ids = [token.item() if isinstance(token, np.integer) else token for token in tokens]
    except TypeError:
        raise ConfigError(f"tokens: expected a list of ids, found {shown(tokens)}") from None
    for i, token in enumerate(ids):
        check_int(f"token {i}", token, 0, n_vocab - 1)
    return ids


def check_flags(**flags: object) -> None:
    """Raises ConfigError unless all are True or False: the text "no" would count as true."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{name}: expected True or False, found {shown(value)}")


def stop_list(stop: str | Sequence[str] | None) -> list[str]:
    """Stop strings given as one, several or none. Raises: ConfigError for impossible ones."""
    if stop is None:
        return []
    if not isinstance(stop, (str, Sequence)):
        raise ConfigError(f"stop: expected text or a list of texts, found {shown(stop)}")
    stops = [stop] if isinstance(stop, str) else list(stop)
    StopScanner(stops)  # it would refuse them only when a stream begins
    return stops


def limit_of(max_tokens: int | None) -> int | None:
    """The number of tokens to make; None, 0 and below mean up to the end of the context."""
    if max_tokens is None:
        return None
    check_int("max_tokens", max_tokens, -(1 << 31), (1 << 31) - 1)
    return max_tokens if max_tokens > 0 else None


def as_processors(
    given: TheirProcessor | Sequence[TheirProcessor] | None,
    bias: Mapping[int, float] | Mapping[str, float] | None,
    n_vocab: int,
) -> list[LogitsProcessor]:
    """Their processors, then the bias, as the engine calls them."""
    processors = [_on_arrays(process) for process in _as_list("logits_processor", given)]
    return [*processors, _bias_processor(bias, n_vocab)] if bias else processors


def as_criteria(
    given: TheirCriterion | Sequence[TheirCriterion] | None,
) -> list[StoppingCriterion]:
    """Their criteria as the engine calls them."""
    return [_on_arrays(criterion) for criterion in _as_list("stopping_criteria", given)]


def _as_list(name: str, given: F | Sequence[F] | None) -> list[F]:
    if given is None:
        return []
    if callable(given):
        return [given]
    if not isinstance(given, Sequence) or not all(map(callable, given)):
        raise ConfigError(f"{name}: expected callables, found {shown(given)}")
    return list(given)


def _on_arrays(function: Callable[[Ids, Scores], Any]) -> Callable[[list[int], Scores], Any]:
    return lambda ids, scores: function(np.array(ids, np.intc), scores)


def _bias_processor(
    bias: Mapping[int, float] | Mapping[str, float], n_vocab: int
) -> LogitsProcessor:
    """Adds to the logits of some ids; OpenAI's clients name them by strings."""
    try:
        pairs = [(int(token), float(value)) for token, value in bias.items()]
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(
            f"logit_bias: expected numbers by token id, found {shown(bias)}"
        ) from None
    for token, value in pairs:
        check_int("logit_bias: token id", token, 0, n_vocab - 1)
        check_range(f"logit_bias of token {token}", value, -MAX_LOGIT_BIAS, MAX_LOGIT_BIAS)

    def add(ids: list[int], scores: Scores) -> Scores:
        del ids
        for token, value in pairs:
            scores[token] += value
        return scores

    return add
