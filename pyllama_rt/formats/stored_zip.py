"""Zip archives whose members are stored as they are, so that they can be used from the mapping.

PyTorch writes such archives. Nothing is ever unpacked; the directory at the end is compared with
the header in front of each member, so that all readers see the same bytes under a name. Checksums
are not compared: PyTorch can be told to write none, and its own reader ignores them.
Source: PKWARE APPNOTE.TXT, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from pyllama_rt.errors import FormatError, UnsupportedError, shown

MAX_MEMBERS = 1 << 17
MAX_DIRECTORY_BYTES = 1 << 25

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_EXTRA = struct.Struct("<2H")
_ZIP64_ID = 1
_MAX_U16, _MAX_U32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _SIZES_FOLLOW = 1, 8  # flag bits


@dataclass(frozen=True, slots=True)
class Member:
    """One file in the archive. start: absolute offset of its data."""

    name: str
    start: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the directory. header: offset of the member's own header."""

    raw_name: bytes
    field: str
    flags: int
    header: int
    n_bytes: int


def read_stored_zip(view: memoryview, path: Path) -> dict[str, Member]:
    """The members of an archive by name.

    Args: view: the whole file. path: for messages.
    Raises: FormatError for archives that are cut, lie or contradict themselves; UnsupportedError
        for members that are compressed or encrypted.
    """
    n_rows, start, end = _find_directory(view, path)
    members: dict[str, Member] = {}
    extents: list[tuple[int, int, str]] = []
    position = start
    for index in range(n_rows):
        row, position = _parse_row(view, position, end, index, path)
        member = _locate(view, row, start, path)
        if member.name in members:
            raise FormatError(f"{path}: {row.field}: the name appears twice in the archive")
        members[member.name] = member
        extents.append((row.header, member.start + member.n_bytes, row.field))
    if position != end:
        raise FormatError.at(
            path, "zip directory", expected=f"{end - position} bytes less", found="more", offset=end
        )
    _check_overlap(extents, path)
    return members


def _find_directory(view: memoryview, path: Path) -> tuple[int, int, int]:
    """Number of rows, start and end of the directory."""
    at = len(view) - _END.size
    if at < 0 or bytes(view[at : at + 4]) != b"PK\x05\x06":
        raise FormatError.at(
            path,
            "end of the zip archive",
            expected="a zip directory that ends with the file",
            found="none; the file is cut short or something was added to it",
        )
    _, disk, first_disk, n_here, n_rows, size, start, n_comment = _END.unpack_from(view, at)
    end = at
    if at >= _LOCATOR.size and bytes(view[at - _LOCATOR.size :][:4]) == b"PK\x06\x07":
        short = (disk, first_disk, n_here, n_rows, size, start)
        end, (disk, first_disk, n_here, n_rows, size, start) = _long_end(view, at, path)
        limits = (_MAX_U16,) * 4 + (_MAX_U32,) * 2
        long = (disk, first_disk, n_here, n_rows, size, start)
        if any(a not in (b, limit) for a, b, limit in zip(short, long, limits, strict=True)):
            raise FormatError.at(
                path, "zip directory", expected="one size and place", found="two", offset=at
            )
    if disk or first_disk or n_here != n_rows or n_comment:
        raise FormatError.at(
            path,
            "end of the zip archive",
            expected="an archive of one file without a comment",
            found="another",
            offset=at,
        )
    if n_rows > min(MAX_MEMBERS, size // _CENTRAL.size) or size > MAX_DIRECTORY_BYTES:
        raise FormatError.at(
            path,
            "zip directory",
            expected=f"up to {MAX_MEMBERS} members in {MAX_DIRECTORY_BYTES} bytes",
            found=f"{n_rows} in {size}",
            offset=at,
        )
    if start + size != end:
        raise FormatError.at(
            path, "end of the zip directory", expected=f"byte {end}", found=start + size, offset=at
        )
    return n_rows, start, end


def _long_end(view: memoryview, at: int, path: Path) -> tuple[int, tuple[int, ...]]:
    """Place and numbers of the end record for archives beyond 4 GiB. Args: at: the short one."""
    _, disk, place, n_disks = _LOCATOR.unpack_from(view, at - _LOCATOR.size)
    expected = at - _LOCATOR.size - _END_64.size
    if place != expected or place < 0 or disk or n_disks != 1:
        raise FormatError.at(
            path,
            "zip64 locator",
            expected=f"the end record at byte {expected}",
            found=place,
            offset=at - _LOCATOR.size,
        )
    magic, _, _, _, *numbers = _END_64.unpack_from(view, place)
    if magic != b"PK\x06\x06":
        raise FormatError.at(
            path, "zip64 end record", expected="its signature", found=shown(magic), offset=place
        )
    return place, tuple(numbers)


def _parse_row(view: memoryview, at: int, end: int, index: int, path: Path) -> tuple[_Row, int]:
    """A row of the directory, and where the next one starts."""
    field = f"zip member {index}"
    if end - at < _CENTRAL.size or bytes(view[at : at + 4]) != b"PK\x01\x02":
        raise FormatError.at(
            path, field, expected="a row of the directory", found="something else", offset=at
        )
    numbers = _CENTRAL.unpack_from(view, at)
    flags, method, packed, n_bytes = numbers[3], numbers[4], numbers[8], numbers[9]
    n_name, n_extra, n_comment, header = *numbers[10:13], numbers[16]
    name_at = at + _CENTRAL.size
    extra_at = name_at + n_name
    stop = extra_at + n_extra + n_comment
    if stop > end:
        raise FormatError.at(
            path, field, expected="a row inside the directory", found="a longer one", offset=at
        )
    raw_name = bytes(view[name_at:extra_at])
    field = f"zip member {shown(raw_name)}"
    extra = view[extra_at : extra_at + n_extra]
    n_bytes, packed, header = _widened(extra, (n_bytes, packed, header), field, path)
    if flags & _ENCRYPTED or method or packed != n_bytes:
        raise UnsupportedError(
            f"{path}: {field} is compressed or encrypted, which PyTorch's files are not; save the "
            "model again with torch.save"
        )
    return _Row(raw_name, field, flags, header, n_bytes), stop


def _widened(
    extra: memoryview, numbers: tuple[int, ...], field: str, path: Path
) -> tuple[int, ...]:
    """`numbers` with those that do not fit 32 bits taken from the extra field."""
    wanted = [i for i, number in enumerate(numbers) if number == _MAX_U32]
    if not wanted:
        return numbers
    position = 0
    while position + _EXTRA.size <= len(extra):
        kind, size = _EXTRA.unpack_from(extra, position)
        position += _EXTRA.size
        if kind == _ZIP64_ID and 8 * len(wanted) <= size <= len(extra) - position:
            found = struct.unpack_from(f"<{len(wanted)}Q", extra, position)
            wide = dict(zip(wanted, found, strict=True))
            return tuple(wide.get(i, number) for i, number in enumerate(numbers))
        position += size
    raise FormatError.at(path, field, expected="its size in 64 bits", found="no such extra field")


def _locate(view: memoryview, row: _Row, directory: int, path: Path) -> Member:
    """The member of a row, whose own header must say the same.

    Args: directory: where the directory starts, which data must not reach into.
    """
    at = row.header
    if at + _LOCAL.size > directory or bytes(view[at : at + 4]) != b"PK\x03\x04":
        raise FormatError.at(
            path,
            row.field,
            expected="its header where the directory says",
            found="something else",
            offset=min(at, len(view)),
        )
    _, _, flags, method, _, _, _, packed, n_bytes, n_name, n_extra = _LOCAL.unpack_from(view, at)
    name_at = at + _LOCAL.size
    extra_at = name_at + n_name
    start = extra_at + n_extra
    if start > directory or row.n_bytes > directory - start:
        raise FormatError.at(
            path,
            row.field,
            expected=f"{row.n_bytes} bytes before the directory",
            found=max(0, directory - start),
            offset=at,
        )
    n_bytes, packed = _widened(view[extra_at:start], (n_bytes, packed), row.field, path)
    sizes = {(row.n_bytes, row.n_bytes)}
    if flags & _SIZES_FOLLOW:  # written before the size was known
        sizes.add((0, 0))
    if (
        bytes(view[name_at:extra_at]) != row.raw_name
        or (flags, method) != (row.flags, 0)
        or (n_bytes, packed) not in sizes
    ):
        raise FormatError.at(
            path,
            row.field,
            expected="one name, size and kind in its header and in the directory",
            found="a difference",
            offset=at,
        )
    return Member(_checked_name(row, path), start, row.n_bytes)


def _checked_name(row: _Row, path: Path) -> str:
    try:
        name = row.raw_name.decode()
    except UnicodeDecodeError:
        name = ""
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise FormatError.at(
            path, row.field, expected="a plain path inside the archive", found="another name"
        )
    return name


def _check_overlap(extents: list[tuple[int, int, str]], path: Path) -> None:
    end, before = 0, ""
    for start, stop, field in sorted(extents):
        if start < end:
            wanted = f"no overlap with {before}"
            raise FormatError.at(path, field, expected=wanted, found="shared bytes", offset=start)
        end, before = stop, field
