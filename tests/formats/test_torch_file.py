"""The reader of torch.save's files: what it gives, and the catalogue of broken and hostile ones."""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_files import (
    REBUILD,
    Call,
    Name,
    Storage,
    archive,
    pickled,
    raw_archive,
    tensor,
    write_torch,
    zipped,
)

from pyllama_rt.errors import PyllamaRtError
from pyllama_rt.formats.torch_file import TorchFile, is_torch_file

ARRAYS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.ones(4, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "scalar": np.array(2.5, np.float32),
}


def six(key: Any = "0", n_elements: Any = 6, n_bytes: int = 24) -> Storage:
    return Storage(key, bytes(range(n_bytes)), n_elements)


def opened(raw: bytes, folder: Path) -> TorchFile:
    (folder / "x.pth").write_bytes(raw)
    return TorchFile(folder / "x.pth")


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64"])
def test_tensors_come_back(dtype: str, tmp_path: Path) -> None:
    write_torch(tmp_path / "x.pth", ARRAYS, dtype)
    file = TorchFile(tmp_path / "x.pth")
    assert list(file.tensors) == list(ARRAYS)
    for name, array in ARRAYS.items():
        found = file.tensors[name]
        assert (found.name, found.shape, found.dtype) == (name, array.shape, dtype)
    if dtype == "F32":
        for name, array in ARRAYS.items():
            assert bytes(file.data(name)) == array.tobytes()
    file.close()


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_tensors_may_share_a_storage(protocol: int, tmp_path: Path) -> None:
    data = np.arange(12, dtype=np.float32)
    storage = Storage("0", data.tobytes(), 12)
    state: Any = OrderedDict(
        whole=tensor(storage, (3, 4)),
        row=tensor(storage, (4,), 4),
        tail=tensor(storage, (2, 2), 8),
        one=tensor(storage, (1, 4, 1), 0, (99, 1, 7)),  # strides of sizes of 1 mean nothing
        parameter=Call(
            Name("torch._utils", "_rebuild_parameter"),
            (tensor(storage, (4,)), True, OrderedDict()),
        ),
        attributes=Call(
            Name("torch._tensor", "_rebuild_from_type_v2"),
            (
                REBUILD,
                Name("torch.nn.parameter", "Parameter"),
                (storage, 2, (4,), (1,), False, OrderedDict()),
                {"tag": 1},
            ),
        ),
    )
    state._metadata = OrderedDict({"": {"version": 1}})
    file = opened(archive(state, storage, protocol=protocol), tmp_path)
    for name, expected in (
        ("whole", data), ("row", data[4:8]), ("tail", data[8:]), ("one", data[:4]),
        ("parameter", data[:4]), ("attributes", data[2:6]),
    ):  # fmt: skip
        assert bytes(file.data(name)) == expected.tobytes(), name
    file.close()


def refused(raw: bytes, folder: Path) -> PyllamaRtError:
    with pytest.raises(PyllamaRtError) as caught:
        opened(raw, folder)
    assert str(folder / "x.pth") in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def rebuilt(*arguments: Any) -> bytes:
    return archive({"w": Call(REBUILD, arguments)}, six())


def utils(name: str, *arguments: Any) -> bytes:
    return archive({"w": Call(Name("torch._utils", name), arguments)}, six())


def with_storage(**changes: Any) -> bytes:
    """A file whose pickle says something else of its only storage than the archive."""
    told = Storage(**{"key": "0", "data": bytes(24), "n_elements": 6, **changes})
    return raw_archive(pickled({"w": tensor(told, (2, 3))}), six())


NONE: Any = OrderedDict()
LIES: dict[str, tuple[Callable[[], bytes], str]] = {
    "storage larger than its member": (lambda: with_storage(n_elements=7), "expected 28 bytes"),
    "storage smaller": (lambda: with_storage(n_elements=5), "expected 20 bytes"),
    "storage of exabytes": (lambda: with_storage(n_elements=2**62), "found 24"),
    "storage of too many": (lambda: with_storage(n_elements=2**63 - 1), "found 24"),
    "negative storage": (lambda: with_storage(n_elements=-6), "a number of elements"),
    "storage of a bool": (lambda: with_storage(n_elements=True), "a number of elements"),
    "storage of no number": (lambda: with_storage(n_elements="6"), "a number of elements"),
    "no such member": (lambda: with_storage(key="1"), "no such member"),
    "member above": (lambda: with_storage(key="../data.pkl"), "a number as its key"),
    "key no text": (lambda: with_storage(key=0), "a number as its key"),
    "key of a digit of other letters": (lambda: with_storage(key="٠"), "a number as its key"),
    "storage of another class": (
        lambda: with_storage(kind=Name("collections", "OrderedDict")),
        "a storage class",
    ),
    "storage of a text": (lambda: with_storage(kind="FloatStorage"), "a storage class"),
    "complex storage": (
        lambda: with_storage(kind=Name("torch", "ComplexFloatStorage")),
        "ComplexFloatStorage",
    ),
    "untyped storage": (
        lambda: with_storage(kind=Name("torch.storage", "UntypedStorage")),
        "UntypedStorage",
    ),
    "shape outside": (lambda: rebuilt(six(), 0, (2, 4), (4, 1), False, NONE), "8 from element 0"),
    "offset outside": (lambda: rebuilt(six(), 1, (2, 3), (3, 1), False, NONE), "from element 1"),
    "offset past the end": (lambda: rebuilt(six(), 7, (0,), (1,), False, NONE), "element 7"),
    "huge offset": (lambda: rebuilt(six(), 2**62, (6,), (1,), False, NONE), "inside its storage"),
    "negative offset": (lambda: rebuilt(six(), -1, (6,), (1,), False, NONE), "an offset"),
    "shape that wraps": (
        lambda: rebuilt(six(), 0, (2**32, 2**32), (2**32, 1), False, NONE),
        "inside its storage",
    ),
    "negative shape": (lambda: rebuilt(six(), 0, (-2, -3), (3, 1), False, NONE), "shape and"),
    "nine dimensions": (lambda: rebuilt(six(), 0, (1,) * 9, (1,) * 9, False, NONE), "shape and"),
    "shape no tuple": (lambda: rebuilt(six(), 0, [6], (1,), False, NONE), "found a list"),
    "fewer strides": (lambda: rebuilt(six(), 0, (2, 3), (1,), False, NONE), "shape and strides"),
    "transposed": (lambda: rebuilt(six(), 0, (3, 2), (1, 3), False, NONE), "row by row"),
    "every other element": (lambda: rebuilt(six(), 0, (3,), (2,), False, NONE), "row by row"),
    "one element many times": (lambda: rebuilt(six(), 0, (10**6,), (0,), False, NONE), "row by"),
    "no storage": (lambda: rebuilt(None, 0, (6,), (1,), False, NONE), "a storage"),
    "too few arguments": (lambda: rebuilt(six(), 0, (6,), (1,)), "six arguments"),
    "negated": (
        lambda: rebuilt(six(), 0, (6,), (1,), False, NONE, {"neg": True}),
        "no flags",
    ),
    "sparse": (lambda: utils("_rebuild_sparse_tensor", 0, ()), "sparse tensors"),
    "quantised": (lambda: utils("_rebuild_qtensor", six()), "quantised tensors"),
    "float8": (lambda: utils("_rebuild_tensor_v3", six()), "float8"),
    "unknown function": (lambda: utils("_rebuild_anything", six()), "_rebuild_anything"),
    "parameter of nothing": (lambda: utils("_rebuild_parameter", None, 0, 0), "a tensor"),
    "tensor class that is called": (
        lambda: archive({"w": Call(Name("torch", "Tensor"), ())}),
        "a call that builds",
    ),
    "attributes of something else": (
        lambda: archive(
            {
                "w": Call(
                    Name("torch._tensor", "_rebuild_from_type_v2"),
                    (Name("torch._utils", "_rebuild_parameter"), Name("torch", "Tensor"), (), {}),
                )
            }
        ),
        "a plain tensor",
    ),
    "attributes without a tensor": (
        lambda: archive(
            {
                "w": Call(
                    Name("torch._tensor", "_rebuild_from_type_v2"),
                    (REBUILD, Name("torch", "Tensor"), {}, {}),
                )
            }
        ),
        "its arguments",
    ),
    "dictionary from pairs": (
        lambda: archive({"w": Call(Name("collections", "OrderedDict"), ([],))}),
        "an empty one",
    ),
    "list": (lambda: archive([]), "a dictionary of tensors, found a list"),
    "tensor alone": (lambda: archive(tensor(six(), (6,)), six()), "a dictionary of tensors"),
    "number beside tensors": (lambda: archive({"epoch": 3}), "entry 'epoch'.*state_dict"),
    "nested": (
        lambda: archive({"model": {"w": tensor(six(), (6,))}}, six()),
        r"entry 'model': expected a tensor \(save model.state_dict.*found a dict",
    ),
    "other persistent id": (
        lambda: raw_archive(pickled({"w": 0})[:-1] + b"X\x01\0\0\0aQ."),
        "storage, class, key",
    ),
    "no data.pkl": (lambda: zipped({"archive/version": b"3"}), "one data.pkl, .* found 0"),
    "two data.pkl": (
        lambda: zipped({"a/data.pkl": b"", "b/data.pkl": b""}),
        "one data.pkl, .* found 2",
    ),
    "big-endian": (
        lambda: zipped({"a/data.pkl": pickled({}), "a/byteorder": b"big"}),
        "big-endian",
    ),
    "program": (
        lambda: zipped({"a/data.pkl": pickled({}), "a/constants.pkl": b""}),
        "TorchScript",
    ),
    "before version 1.6": (
        lambda: b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
        "before version 1.6; write it again with torch.save",
    ),
    "something else": (lambda: b"GGUF" + bytes(100), "a zip directory"),
}


@pytest.mark.parametrize("case", LIES)
def test_files_that_lie_are_refused(case: str, tmp_path: Path) -> None:
    raw, message = LIES[case]
    with pytest.raises(PyllamaRtError, match=message):
        raise refused(raw(), tmp_path)


def test_attacks_are_refused(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    for module in (os.name, "os"):
        raw = archive({"w": Call(Name(module, "system"), (f"touch {trace}",))})
        assert "was not run" in str(refused(raw, tmp_path))
    assert not trace.exists()


def test_a_large_pickle_is_refused_unread(tmp_path: Path) -> None:
    raw = raw_archive(bytes((1 << 25) + 1))
    assert "data.pkl: expected up to 33554432 bytes" in str(refused(raw, tmp_path))


@pytest.mark.parametrize("n", [640, 896, 1152, 1408, 0x0A8A0280])
def test_numbers_are_not_taken_for_pickles(n: int) -> None:
    """A llama2.c file starts with its width, and 640 is written as a protocol would be."""
    assert is_torch_file(struct.pack("<i", n)) is (n > 10**6)


def small_file() -> bytes:
    storage = six()
    return archive({"w": tensor(storage, (2, 3)), "v": tensor(storage, (3,), 3)}, storage)


def test_truncations_are_refused(tmp_path: Path) -> None:
    raw = small_file()
    for n in [*range(1, len(raw), 3), *range(len(raw) - 80, len(raw))]:
        refused(raw[:n], tmp_path)


def is_read(raw: bytes, folder: Path) -> bool:
    """Whether a file is taken; all its tensors then lie inside."""
    try:
        file = opened(raw, folder)
    except PyllamaRtError as error:
        if "\n" in str(error):
            raise
        return False
    extents = [(entry.start, entry.stop) for entry in file.tensors.values()]
    file.close()
    assert all(0 <= start <= stop <= len(raw) for start, stop in extents)
    return True


def test_mutations_are_read_or_refused(fuzz_rounds: int, tmp_path: Path) -> None:
    """Whatever a change of a few bytes does, tensors stay inside the file."""
    rng = np.random.default_rng(20)
    raw = small_file()
    n_read = 0
    for _ in range(800 * fuzz_rounds):
        data = bytearray(raw)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            data[at] = rng.choice([0, 1, 0x7F, 0xFF, data[at] ^ 0x80, data[at] + 1 & 0xFF])
        n_read += is_read(bytes(data), tmp_path)
    assert 40 < n_read < 760 * fuzz_rounds


def test_mutated_pickles_are_read_or_refused(fuzz_rounds: int, tmp_path: Path) -> None:
    """The pickle alone, with opcodes put in, left out and moved."""
    rng = np.random.default_rng(21)
    storage = six()
    program = pickled({"w": tensor(storage, (2, 3)), "v": tensor(storage, (3,), 3)})
    opcodes = b"(.NKMJGX}])tsuaecQRbqhjr0129i\x80\x81\x85\x86\x87\x88\x8a\x8c\x93\x94\x95"
    for _ in range(500 * fuzz_rounds):
        data = bytearray(program)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(data)))
            kind = rng.integers(0, 4)
            if kind == 0:
                data[at] = rng.choice(list(opcodes))
            elif kind == 1:
                data.insert(at, rng.choice(list(opcodes)))
            elif kind == 2:
                del data[at]
            else:
                stop = at + int(rng.integers(1, 20))
                data[at:at] = data[at:stop]
        is_read(raw_archive(bytes(data), storage), tmp_path)
