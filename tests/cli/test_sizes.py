"""Sizes as people write them."""

from __future__ import annotations

import pytest

from pyllama_rt.cli.sizes import parse_size
from pyllama_rt.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("5340224", 5340224),
        ("12B", 12),
        ("3.5GiB", 3_758_096_384),
        ("3.5 gib", 3_758_096_384),
        ("900MB", 900_000_000),
        ("1.5MiB", 1_572_864),
        ("4GB", 4_000_000_000),
        (" 2kib ", 2048),
        ("1KB", 1000),
    ],
)
def test_sizes(text: str, n_bytes: int) -> None:
    assert parse_size(text, "--size") == n_bytes


@pytest.mark.parametrize("text", ["", "GiB", "-1", "0", "0.1", "1e9", "3,5GiB", "4TB", "4G", "nan"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--size: expected a size as 3\.5GiB"):
        parse_size(text, "--size")
