"""The reader of stored zip archives: what it gives, and archives that lie."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from torch_files import zipped

from pyllama_rt.errors import FormatError, PyllamaRtError, UnsupportedError
from pyllama_rt.formats import stored_zip
from pyllama_rt.formats.stored_zip import read_stored_zip

MEMBERS = {"a/data.pkl": b"first", "a/data/0": bytes(range(64)), "a/empty": b""}
LOCAL, CENTRAL, END = 30, 46, 22


def read(raw: bytes) -> dict[str, bytes]:
    found = read_stored_zip(memoryview(raw), Path("x.pth"))
    return {name: raw[m.start : m.start + m.n_bytes] for name, m in found.items()}


def zip64(members: dict[str, bytes] = MEMBERS) -> bytes:
    """The same with the records for archives beyond 4 GiB, as PyTorch always writes them."""
    raw = zipped(members)
    n, size, start = struct.unpack_from("<HLL", raw, len(raw) - 12)
    end = len(raw) - END
    long = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, n, n, size, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    short = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, size, 0xFFFFFFFF, 0)
    return raw[:end] + long + locator + short


def changed(at: int, layout: str, value: object, raw: bytes | None = None) -> bytes:
    """An archive with a field overwritten; a negative place counts from the end."""
    data = bytearray(zipped(MEMBERS) if raw is None else raw)
    struct.pack_into("<" + layout, data, at % len(data), value)
    return bytes(data)


def central(index: int, raw: bytes | None = None) -> int:
    """Where row `index` of the directory starts."""
    data = zipped(MEMBERS) if raw is None else raw
    at = -1
    for _ in range(index + 1):
        at = data.index(b"PK\x01\x02", at + 1)
    return at


def second() -> int:
    """Where the header of the second member starts."""
    return zipped(MEMBERS).index(b"PK\x03\x04", 1)


def test_members_are_found_where_they_lie() -> None:
    assert read(zipped(MEMBERS)) == MEMBERS
    assert read(zip64()) == MEMBERS
    assert read(zipped({})) == {}


def test_sizes_that_follow_the_data_are_taken_from_the_directory() -> None:
    raw = bytearray(zipped(MEMBERS))
    for start in (0, second()):
        struct.pack_into("<H", raw, start + 6, 8)
        struct.pack_into("<LLL", raw, start + 14, 0, 0, 0)
    for index in (0, 1):
        struct.pack_into("<H", raw, central(index) + 8, 8)
    assert read(bytes(raw)) == MEMBERS


def test_sizes_beyond_32_bits_come_from_the_extra_field() -> None:
    """A member's place in 64 bits, as for all that lies behind the first 4 GiB."""
    raw = zipped({"a": b"data"})
    at = raw.index(b"PK\x01\x02")
    row = bytearray(raw[at:-END])
    struct.pack_into("<L", row, 42, 0xFFFFFFFF)
    struct.pack_into("<H", row, 30, 16)
    row += struct.pack("<HH", 0x4246, 0) + struct.pack("<HHQ", 1, 8, 0)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(row), at, 0)
    assert read(raw[:at] + bytes(row) + end) == {"a": b"data"}
    with pytest.raises(FormatError, match="its size in 64 bits"):
        read(raw[:at] + bytes(row).replace(struct.pack("<HHQ", 1, 8, 0), bytes(12)) + end)


def longer(n_bytes: int) -> bytes:
    """A member of 4 bytes that claims more, in both places."""
    raw = zipped({"a": b"data"})
    at = raw.index(b"PK\x01\x02")
    for place in (18, 22, at + 20, at + 24):
        raw = changed(place, "L", n_bytes, raw)
    return raw


BROKEN: dict[str, Callable[[], bytes]] = {
    "no archive": lambda: bytes(100),
    "shorter than an end record": lambda: b"PK\x05\x06",
    "trailing byte": lambda: zipped(MEMBERS) + b"x",
    "comment": lambda: changed(-2, "H", 1) + b"x",
    "comment that is not there": lambda: changed(-2, "H", 1),
    "directory of another size": lambda: changed(
        -10, "L", len(zipped(MEMBERS)) - END - central(0) - 1
    ),
    "bytes behind the directory": lambda: zipped(MEMBERS)[:-END] + b"x" + zipped(MEMBERS)[-END:],
    "two disks": lambda: changed(-18, "H", 1),
    "fewer members here": lambda: changed(-14, "H", 2),
    "more members": lambda: changed(-12, "H", 4, changed(-14, "H", 4)),
    "fewer members": lambda: changed(-12, "H", 2, changed(-14, "H", 2)),
    "directory of gigabytes": lambda: changed(-10, "L", 0xFFFFFFF0),
    "directory elsewhere": lambda: changed(-6, "L", 7),
    "no row": lambda: changed(central(1), "B", 0),
    "row past the end": lambda: changed(central(2) + 28, "H", 999),
    "header elsewhere": lambda: changed(central(1) + 42, "L", 5),
    "header past the end": lambda: changed(central(1) + 42, "L", 1 << 31),
    "no header": lambda: changed(second(), "B", 0),
    "data past the directory": lambda: changed(
        central(1) + 20, "L", 999, changed(central(1) + 24, "L", 999)
    ),
    "data into the directory": lambda: longer(5),
    "data of gigabytes": lambda: longer(0xFFFFFFFE),
    "another size": lambda: changed(second() + 22, "L", 63),
    "another packed size": lambda: changed(second() + 18, "L", 63),
    "another name": lambda: changed(second() + LOCAL, "B", ord("b")),
    "longer name": lambda: changed(second() + 26, "H", 9),
    "other flags": lambda: changed(second() + 6, "H", 0x800),
    "another method": lambda: changed(second() + 8, "H", 8),
    "the same data twice": lambda: changed(
        central(1) + 42, "L", 0, zipped({"a": b"1", "b": b"2"}).replace(b"b", b"a")
    ),
    "name twice": lambda: zipped({"a": b"1", "b": b"2"}).replace(b"b", b"a"),
    "zip64 that differs": lambda: changed(-10, "L", 1, zip64()),
    "zip64 record elsewhere": lambda: changed(-END - 12, "Q", 1, zip64()),
    "zip64 record past the end": lambda: changed(-END - 12, "Q", 1 << 63, zip64()),
    "zip64 on two disks": lambda: changed(-END - 4, "L", 2, zip64()),
    "zip64 without its record": lambda: changed(-END - 20 - 56, "B", 0, zip64()),
    "directory inside the data": lambda: changed(
        central(0) + 42, "L", central(0), changed(0, "L", 0)
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_archives_that_lie_are_refused(case: str) -> None:
    with pytest.raises(FormatError, match=r"x\.pth"):
        read(BROKEN[case]())


@pytest.mark.parametrize(
    "name", ["../x", "a/../x", "/x", "a//x", "a/", ".", "a\\x", "a\nx", "", "a/\udcff"]
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    raw = zipped({"q" * len(name.encode("utf-8", "surrogateescape")): b"data"})
    encoded = name.encode("utf-8", "surrogateescape")
    with pytest.raises(FormatError, match="a plain path"):
        read(raw.replace(b"q" * len(encoded), encoded) if encoded else _without_name())


def _without_name() -> bytes:
    raw = zipped({"q": b"data"})
    at = raw.index(b"PK\x01\x02")
    local = bytearray(raw[:30] + raw[31:at])
    row = bytearray(raw[at : at + CENTRAL])
    struct.pack_into("<H", local, 26, 0)
    struct.pack_into("<H", row, 28, 0)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(row), len(local), 0)
    return bytes(local + row) + end


def test_packed_and_encrypted_members_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="compressed"):
        read(zipped({"a": bytes(1000)}, zipfile.ZIP_DEFLATED))
    with pytest.raises(UnsupportedError, match="encrypted"):
        read(changed(central(0) + 8, "H", 1))


def test_overlapping_members_are_refused() -> None:
    """A member whose data are another one's header and data."""
    inner = zipped({"b": b"data"})
    inner = inner[: inner.index(b"PK\x01\x02")]
    raw = zipped({"a": inner})
    at = raw.index(b"PK\x01\x02")
    row = bytearray(raw[at:-END])
    other = bytearray(row)
    struct.pack_into("<LL", other, 20, 4, 4)
    struct.pack_into("<L", other, 42, LOCAL + 1)
    other[CENTRAL:] = b"b"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(row + other), at, 0)
    with pytest.raises(FormatError, match="no overlap"):
        read(raw[:at] + bytes(row + other) + end)


def test_the_number_of_members_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_zip, "MAX_MEMBERS", 2)
    with pytest.raises(FormatError, match="up to 2 members"):
        read(zipped(MEMBERS))


def test_every_truncation_is_refused() -> None:
    for raw in (zipped(MEMBERS), zip64()):
        for n in range(len(raw)):
            with pytest.raises(PyllamaRtError):
                read(raw[:n])
