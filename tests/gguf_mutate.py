"""Seeded damage to GGUF files that knows where their fields are."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from gguf_craft import Craft, Fields

EXTREMES = (
    *(0, 1, 2, 3, 7, 8, 9, 12, 13, 31, 32, 33, 63, 64, 65, 255, 256, 257),
    *(2**15, 2**16 - 1, 2**16, 2**24, 2**26 + 1, 2**31 - 1, 2**31, 2**32 - 32, 2**32 - 1),
    *(2**32, 2**59 + 1, 2**61, 2**62 - 1, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 8, 2**64 - 1),
)


def _extreme(rng: random.Random, fields: Fields) -> None:
    """Put an extreme or a slightly different integer into a field that may be one."""
    sites = [i for i, field in enumerate(fields) if len(field) in (4, 8)]
    site = rng.choice(sites)
    n_bytes = len(fields[site])
    value = int.from_bytes(fields[site], "little") + rng.choice((-8, -1, 1, 8))
    if rng.random() < 0.7:
        value = rng.choice(EXTREMES)
    fields[site] = (value % (1 << 8 * n_bytes)).to_bytes(n_bytes, "little")


def _flip(rng: random.Random, fields: Fields) -> None:
    """Change one byte of a field."""
    site = rng.randrange(len(fields))
    raw = bytearray(fields[site])
    if raw:
        raw[rng.randrange(len(raw))] ^= rng.choice((0xFF, 0x80, 1, rng.randrange(1, 256)))
    fields[site] = bytes(raw)


def _refill(rng: random.Random, fields: Fields) -> None:
    """Random bytes of the same number, which keeps every other field in its place."""
    site = rng.randrange(4, len(fields)) if len(fields) > 4 else 0
    fields[site] = rng.randbytes(len(fields[site]))


def _insert(rng: random.Random, fields: Fields) -> None:
    """Insert bytes into a field, so that everything behind it shifts."""
    site = rng.randrange(len(fields))
    at = rng.randrange(len(fields[site]) + 1)
    extra = rng.choice((b"\0", b"\xff" * 8, rng.randbytes(rng.randrange(1, 40))))
    fields[site] = fields[site][:at] + extra + fields[site][at:]


def _delete(rng: random.Random, fields: Fields) -> None:
    """Delete a few fields."""
    site = rng.randrange(len(fields))
    del fields[site : site + rng.randrange(1, 4)]


def _repeat(rng: random.Random, fields: Fields) -> None:
    """Copy a run of fields to another place."""
    site, to = rng.randrange(len(fields)), rng.randrange(len(fields))
    fields[to:to] = fields[site : site + rng.randrange(1, 8)]


def _swap(rng: random.Random, fields: Fields) -> None:
    """Exchange two fields."""
    a, b = rng.randrange(len(fields)), rng.randrange(len(fields))
    fields[a], fields[b] = fields[b], fields[a]


def _grow(rng: random.Random, fields: Fields) -> None:
    """Claim more or fewer tensors or keys than there are."""
    site = rng.choice((2, 3))
    (count,) = struct.unpack("<Q", fields[site])
    fields[site] = struct.pack("<Q", max(count + rng.choice((-2, -1, 1, 2)), 0))


_MUTATIONS: tuple[Callable[[random.Random, Fields], None], ...] = (
    *(_extreme, _extreme, _extreme, _extreme),
    *(_flip, _flip, _refill, _refill, _insert, _delete, _repeat, _swap),
)


def mutant(craft: Craft, seed: int) -> bytes:
    """One damaged version of `craft`; the same for the same seed."""
    rng = random.Random(seed)
    head = craft.head()
    rest = craft.build()[sum(map(len, head)) :]
    if rng.random() < 0.1:
        _grow(rng, head)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 6))):
        if head:
            rng.choice(_MUTATIONS)(rng, head)
    data = b"".join(head) + rest
    if rng.random() < 0.15:
        data = data[: rng.randrange(len(data) + 1)]
    return data
