"""Which keys of a Hugging Face config.json may be left unread.

A key that changes the arithmetic and that nobody reads would give a model that runs and answers
nonsense. Files hold many keys that change nothing, and new ones appear with every release of the
tools that write them; so a key fails only where its name speaks of a part of the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pyllama_rt.errors import UnsupportedError, shown

_ARITHMETIC = re.compile(
    "rope|rotary|rotate|attn|attention|norm|expert|moe|window|scal|multipl|softcap|bias|alibi"
    "|resid|activation|act_fn|layer|head|logit|clip"
)
"""What is found in names of keys that change the arithmetic."""

_IGNORED_PREFIX = "pooler_"
"""Of a part of BERT that embeddings do not go through."""

_IGNORED = frozenset(
    {
        "_attn_implementation",
        "_attn_implementation_autoset",
        "_attn_implementation_internal",
        "_flash_attn_2_enabled",
        "_use_flash_attention_2",
        "attention_dropout",
        "attention_probs_dropout_prob",
        "attn_implementation",
        "attn_pdrop",
        "cross_attention_hidden_size",
        "flash_attention",
        "ignore_keys_at_rope_validation",
        "max_window_layers",  # of a window, which is refused by itself
        "output_attentions",
        "output_router_logits",
        "pruned_heads",
        "remove_invalid_values",
        "renormalize_logits",
        "resid_pdrop",
        "use_flash_attention",
        "use_flash_attention_2",
        "use_flash_attn",
    }
)
"""Keys that match all the same: training, implementations, sampling."""


def check_hf_keys(values: Mapping[str, object], known: frozenset[str]) -> None:
    """Raises UnsupportedError for a key that may change the arithmetic and is not in `known`.

    Args: values: the parsed config.json. known: what the architecture reads; a dot leads into a
        nested object.
    """
    for key, value in _flat(values):
        if key in known or key in _IGNORED or key.startswith(_IGNORED_PREFIX):
            continue
        if value in (None, False, 0, [], "") or key.endswith(("dropout", "pdrop")):
            continue
        if _ARITHMETIC.search(key):
            raise UnsupportedError(
                f"{shown(key)}: {shown(value)} may change the arithmetic in a way that is not "
                "supported; if it does not, remove the key"
            )


def _flat(values: Mapping[str, object], *, always: bool = False) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if not isinstance(value, dict):
            yield key, value
        elif always or _ARITHMETIC.search(key):  # others are about something else as a whole
            for inner, item in _flat(value, always=True):
                yield f"{key}.{inner}", item
