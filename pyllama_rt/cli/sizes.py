"""Sizes as people write them."""

from __future__ import annotations

import re

from pyllama_rt.errors import ConfigError, shown

_UNITS = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([a-z]{0,5})")


def parse_size(text: str, option: str) -> int:
    """The bytes of a size such as 3.5GiB, 900MB or 5340224, rounded down.

    Args: option: the name to blame.
    Raises: ConfigError for anything else, or none at all.
    """
    found = _SIZE.fullmatch(text.strip().lower())
    factor = _UNITS.get(found[2]) if found is not None else None
    n_bytes = int(float(found[1]) * factor) if found is not None and factor is not None else 0
    if n_bytes < 1:
        raise ConfigError(
            f"{option}: expected a size as 3.5GiB, 900MiB, 4GB or a number of bytes, found "
            f"{shown(text)}"
        )
    return n_bytes
