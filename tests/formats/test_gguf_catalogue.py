"""Every bad file of the catalogue that is the reader's to judge, refused for the right reason."""

from __future__ import annotations

import os
import socket
import struct
import sys
import tracemalloc
from pathlib import Path

import pytest
from gguf_cases import CASES, numbered, split_parts
from gguf_craft import F32, Craft, Tensor, numbers, text, texts, tiny_llama, u64

from pyllama_rt.errors import ConfigError, FormatError, PyllamaRtError, UnsupportedError
from pyllama_rt.formats.gguf import GgufFile

# Longest matching start of the name wins: the words that the message must hold.
REASONS = {
    "01": "empty",
    "02": "expected 24 bytes",
    "02-first-01": "magic at byte 0",
    "02-first-02": "magic at byte 0",
    "02-first-03": "magic at byte 0",
    "03": "magic at byte 0: expected b'GGUF', found b'GGUG'",
    "04-version-0": "version at byte 4: expected 2 or 3, found 0",
    "04-version-1": "version 1 is too old",
    "04-version-4": "version 4 is newer",
    "05": "big-endian",
    "06": "number of tensors at byte 8",
    "07": "number of metadata keys at byte 16",
    "08-tensors-beyond": "number of tensors at byte 8",
    "08-keys-beyond": "number of metadata keys at byte 16",
    "08-tensors-one": "name of tensor 12",
    "08-keys-one": "tensor 0",
    "09": "length of key 19",
    "10": "key 19 at byte",
    "11": "expected a new key, found 'general.name'",
    "12": "expected printable UTF-8 text, found b",
    "13-value": "type of 'k' at byte 6764: expected a value type",
    "13-element": "element type of 'k' at byte 6768: expected a value type",
    "14": "value of 'k'",
    "15": "length of 'k' at byte 6772",
    "16": "arrays of arrays",
    "17-last-string-cut": "element 1 of 'k' at byte 68: expected 3 bytes, found 2",
    "17-last-string-missing": "length of 'k'",
    "17-first": "length of element 0 of 'k'",
    "18-bool-2": "value of 'k' at byte 6768: expected a bool",
    "18-bool-2-in-array": "element 2 of 'k' at byte 6782: expected a bool",
    "19": "general.alignment at byte",
    "20-name-64": "length of name of tensor 0 at byte 24: expected at most 63",
    "20-name-empty": "name of tensor 0",
    "20-name-with-nul": "name of tensor 0",
    "20-name-duplicate": "expected a new name, found 'output_norm.weight'",
    "21": "number of dimensions at byte 33: expected 1 to 4",
    "22": "dimension 1 at byte 45: expected 1 to",
    "23": "size at byte 37",
    "24": "size at byte 37",
    "25": "type at byte 45",
    "25-type-4": "removed from the format",
    "25-type-31": "removed from the format",
    "25-type-42": "type at byte 45",
    "26": "row length at byte 37: expected a multiple of",
    "27": "offset at byte 49: expected a multiple of 32, found 16",
    "28": "no overlap with tensor 'token_embd.weight'",
    "29": "inside the file of",
    "30": "inside the file of",
}
UNSUPPORTED = ("04-version-1", "04-version-4", "05-", "16-", "25-type-31")


def write(folder: Path, data: bytes, name: str = "m.gguf") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def look_at_everything(path: Path) -> int:
    """Open, decode every value, touch every tensor; returns the number of tensors."""
    with GgufFile.open(path) as file:
        assert len(dict(file.metadata)) == len(file.metadata)
        for name, info in file.tensors.items():
            data = file.tensor_data(name)
            assert data.nbytes == info.n_bytes
            assert bytes(data[:1]) + bytes(data[-1:])
        return len(file.tensors)


def test_the_valid_file_opens(tmp_path: Path) -> None:
    assert look_at_everything(write(tmp_path, tiny_llama().build())) == 12


def test_the_catalogue_is_complete() -> None:
    assert {int(name[:2]) for name in CASES} == set(range(1, 45)) | {48}


@pytest.mark.parametrize("name", numbered(1, 30))
def test_refused(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, CASES[name]())
    unsupported = name.startswith(UNSUPPORTED) or name == "25-type-4"
    error_class = UnsupportedError if unsupported else FormatError
    with pytest.raises(PyllamaRtError) as caught:
        look_at_everything(path)
    assert type(caught.value) is error_class
    message = str(caught.value)
    reason = max((key for key in REASONS if name.startswith(key)), key=len)
    assert REASONS[reason] in message
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 250


@pytest.mark.parametrize("name", [n for n in numbered(31, 48) if n != "42-piece-not-utf8"])
def test_left_to_the_model(name: str, tmp_path: Path) -> None:
    """The format of these files is right; what they say is judged by whoever loads them."""
    look_at_everything(write(tmp_path, CASES[name]()))


def test_text_that_is_not_utf8_is_refused_when_read(tmp_path: Path) -> None:
    with GgufFile.open(write(tmp_path, CASES["42-piece-not-utf8"]())) as file:
        assert file.metadata.strings("tokenizer.ggml.tokens")[271] == b"\xff\xfe"
        with pytest.raises(FormatError, match=r"element 271 of 'tokenizer\.ggml\.tokens'"):
            file.get_strings("tokenizer.ggml.tokens")


@pytest.mark.parametrize("type_id", [9, 15, 16, 22, 29, 35, 39, 41])
def test_types_of_others_are_unsupported_not_broken(type_id: int, tmp_path: Path) -> None:
    path = write(tmp_path, Craft(tensors=[Tensor("t", [256], bytes(9999), type_id)]).build())
    with pytest.raises(UnsupportedError, match=r"tensor 't' has type .*, which is not supported"):
        GgufFile.open(path)


# Case 45: split files.


def write_parts(folder: Path, parts: list[bytes], stem: str = "m") -> list[Path]:
    count = len(parts)
    return [
        write(folder, data, f"{stem}-{i + 1:05d}-of-{count:05d}.gguf")
        for i, data in enumerate(parts)
    ]


@pytest.mark.parametrize("opened", [0, 1, 2])
def test_any_part_opens_the_whole(opened: int, tmp_path: Path) -> None:
    paths = write_parts(tmp_path, split_parts())
    whole = write(tmp_path, tiny_llama().build(), "whole.gguf")
    with GgufFile.open(paths[opened]) as file, GgufFile.open(whole) as expected:
        assert file.paths == tuple(paths)
        assert len(file.mappings) == 3
        assert file.tensors.keys() == expected.tensors.keys()
        assert file.get_str("general.name") == "tiny"
        for name, info in file.tensors.items():
            assert bytes(file.tensor_data(name)) == bytes(expected.tensor_data(name))
            mapping = file.mappings[info.file_index]
            assert mapping[info.offset : info.offset + info.n_bytes] == file.tensor_data(name)


def test_a_single_part_needs_no_name(tmp_path: Path) -> None:
    with GgufFile.open(write(tmp_path, split_parts(1)[0])) as file:
        assert len(file.tensors) == 12


def test_missing_part(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, split_parts())
    paths[1].unlink()
    with pytest.raises(FormatError, match=r"part 2 of 3 of the model is missing.*00002-of-00003"):
        GgufFile.open(paths[0])


def test_duplicate_part(tmp_path: Path) -> None:
    parts = split_parts()
    paths = write_parts(tmp_path, [parts[0], parts[2], parts[2]])
    with pytest.raises(FormatError, match=r"00002-of-00003\.gguf: split\.no: expected 1, found 2"):
        GgufFile.open(paths[0])


def test_part_of_another_count(tmp_path: Path) -> None:
    parts = split_parts()
    parts[1] = split_parts(4)[1]
    paths = write_parts(tmp_path, parts)
    with pytest.raises(FormatError, match=r"split\.count: expected 3, found 4"):
        GgufFile.open(paths[0])


def test_same_tensor_in_two_parts(tmp_path: Path) -> None:
    other = Craft(
        {
            "split.no": [struct.pack("<I", 2), struct.pack("<H", 1)],
            "split.count": [struct.pack("<I", 2), struct.pack("<H", 2)],
        },
        tiny_llama().tensors[:6],
    )
    paths = write_parts(tmp_path, [split_parts(2)[0], other.build()])
    with pytest.raises(FormatError, match=r"tensor 'token_embd\.weight' is also in .*00001"):
        GgufFile.open(paths[0])


def test_wrong_total(tmp_path: Path) -> None:
    parts = split_parts(2)
    key = b"split.tensors.count" + struct.pack("<I", 5)
    parts[0] = parts[0].replace(key + struct.pack("<i", 12), key + struct.pack("<i", 13))
    paths = write_parts(tmp_path, parts)
    with pytest.raises(FormatError, match="expected 13 tensors in 2 files, found 12"):
        GgufFile.open(paths[0])


@pytest.mark.parametrize(
    "name", ["renamed.gguf", "m-00002-of-00003.gguf", "m-00001-of-00002.gguf", "..-00001-of-3.gguf"]
)
def test_a_part_under_a_wrong_name(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, split_parts()[0], name)
    with pytest.raises(FormatError, match="its name must end in -00001-of-00003"):
        GgufFile.open(path)


def test_parts_are_only_looked_for_beside_the_file(tmp_path: Path) -> None:
    """Names of parts come from the opened name, so metadata cannot lead anywhere else."""
    folder = tmp_path / "models"
    folder.mkdir()
    for path in write_parts(tmp_path, split_parts()):
        path.rename(path.with_name("..-" + path.name[2:]))
    path = write(folder, split_parts()[0], "..-00001-of-00003.gguf")
    with pytest.raises(FormatError, match=f"part 2 of 3 .*{folder.name}"):
        GgufFile.open(path)


# Case 46: paths that are no regular file. None may block.


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX special files")
def test_special_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # a socket's path must be short
        server.bind("sock")
    for path, words in (
        (tmp_path / "fifo", "a named pipe"),
        (Path("/dev/zero"), "a device"),
        (tmp_path, "a directory"),
        (tmp_path / "loop", "cannot open"),
        (tmp_path / "sock", "cannot open"),
    ):
        with pytest.raises((FormatError, ConfigError), match=words):
            GgufFile.open(path)


def test_links_to_files_open(tmp_path: Path) -> None:
    write(tmp_path, tiny_llama().build())
    link = tmp_path / "link.gguf"
    link.symlink_to("m.gguf")
    assert look_at_everything(link) == 12


@pytest.mark.parametrize("name", ["absent.gguf", "nul\0.gguf", "no/folder.gguf"])
def test_unopenable(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot open the file"):
        GgufFile.open(tmp_path / name)


# Case 47: a file that is huge only by its size.

TERABYTE = 1 << 40


def sparse(path: Path, head: bytes) -> Path:
    path.write_bytes(head)
    try:
        os.truncate(path, TERABYTE)
    except OSError:
        pytest.skip("the file system holds no sparse file of 1 TB")
    return path


@pytest.mark.parametrize(
    ("label", "head"),
    [
        ("model", tiny_llama().build()),
        ("zeros", b""),
        ("tensors", Craft(n_tensors=1 << 34).build()),
        ("keys", Craft(n_keys=1 << 34).build()),
        ("numbers", Craft({"k": numbers(4, [], count=1 << 36)}).build()),
        ("strings", Craft({"k": texts([], count=1 << 36)}).build()),
        ("long-text", Craft({"k": [text("")[0], u64(TERABYTE // 2)]}).build()),
        ("long-element", Craft({"k": [*texts([], count=1), u64(TERABYTE // 2)]}).build()),
        ("tensor", Craft(tensors=[Tensor("t", [1 << 37], b"", F32)]).build()),
    ],
)
def test_sparse_terabyte(label: str, head: bytes, tmp_path: Path) -> None:
    path = sparse(tmp_path / "m.gguf", head)
    tracemalloc.start()
    try:
        if label in ("model", "tensor"):
            assert look_at_everything(path) > 0
        else:
            with pytest.raises(FormatError):
                GgufFile.open(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
