"""Importance matrices as files and in memory."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from gguf_craft import INT32, UINT32, Craft, Tensor, number, text, texts
from numpy.typing import NDArray

from pyllama_rt.errors import ConfigError, FormatError, NumericsError, PyllamaRtError
from pyllama_rt.quant.importance import (
    ImportanceMatrix,
    InputSquares,
    merge,
    read_importance,
    write_importance,
)

Q, EXPERTS = "blk.0.attn_q.weight", "blk.0.ffn_up_exps.weight"


def floats(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0.1, 9, shape).astype(np.float32)


def squares(sums: NDArray[np.float32], *counts: int) -> InputSquares:
    return InputSquares(sums, np.array(counts, np.float32))


def example(seed: int = 0, source: str = "a.gguf") -> ImportanceMatrix:
    """A matrix, and a stack of three experts of which one met no token."""
    stack = floats(3, 4, seed=seed + 1)
    stack[1] = 0
    tensors = {Q: squares(floats(1, 6, seed=seed), 20), EXPERTS: squares(stack, 7, 0, 13)}
    return ImportanceMatrix(tensors, ("some.txt",), 2, 10, source)


def craft() -> Craft:
    """`example` put together without the writer, as llama.cpp lays it out."""
    matrix = example()
    tensors = []
    for name, found in matrix.tensors.items():
        sums = found.sums if len(found.counts) > 1 else found.sums[0]
        tensors.append(Tensor.f32(name + ".in_sum2", sums))
        counts = found.counts[:, None] if len(found.counts) > 1 else found.counts
        tensors.append(Tensor.f32(name + ".counts", counts))
    return Craft(
        {
            "general.type": text("imatrix"),
            "imatrix.datasets": texts(["some.txt"]),
            "imatrix.chunk_count": number(UINT32, 2),
            "imatrix.chunk_size": number(UINT32, 10),
        },
        tensors,
    )


def check_equal(found: ImportanceMatrix, wanted: ImportanceMatrix) -> None:
    assert sorted(found.tensors) == sorted(wanted.tensors)
    for name in found.tensors:
        assert np.array_equal(found.tensors[name].sums, wanted.tensors[name].sums), name
        assert np.array_equal(found.tensors[name].counts, wanted.tensors[name].counts), name
    assert found.datasets == wanted.datasets
    assert (found.chunk_count, found.chunk_size) == (wanted.chunk_count, wanted.chunk_size)


def save(folder: Path, data: bytes) -> Path:
    (folder / "x.gguf").write_bytes(data)
    return folder / "x.gguf"


def test_there_and_back(tmp_path: Path) -> None:
    write_importance(tmp_path / "a.gguf", example())
    found = read_importance(tmp_path / "a.gguf")
    check_equal(found, example())
    assert found.source == str(tmp_path / "a.gguf")


def test_files_as_llama_cpp_lays_them_out(tmp_path: Path) -> None:
    check_equal(read_importance(save(tmp_path, craft().build())), example())


def test_another_reader_finds_what_was_written(tmp_path: Path) -> None:
    write_importance(tmp_path / "a.gguf", example())
    reader = GGUFReader(tmp_path / "a.gguf")
    assert reader.fields["general.type"].contents() == "imatrix"
    assert reader.fields["imatrix.datasets"].contents() == ["some.txt"]
    assert reader.fields["imatrix.chunk_count"].contents() == 2
    assert reader.fields["imatrix.chunk_size"].contents() == 10
    shapes = {t.name: (t.tensor_type.name, t.shape.tolist()) for t in reader.tensors}
    assert [name.split(".")[2] for name in shapes] == ["attn_q"] * 2 + ["ffn_up_exps"] * 2
    assert shapes == {
        Q + ".in_sum2": ("F32", [6, 1]),
        Q + ".counts": ("F32", [1, 1]),
        EXPERTS + ".in_sum2": ("F32", [4, 3]),
        EXPERTS + ".counts": ("F32", [1, 3]),
    }


def test_metadata_may_be_missing(tmp_path: Path) -> None:
    bare = craft()
    bare.keys = {"general.type": text("imatrix")}
    found = read_importance(save(tmp_path, bare.build()))
    assert (found.datasets, found.chunk_count, found.chunk_size) == ((), 0, 0)


def test_means() -> None:
    matrix = example()
    sums = matrix.tensors[EXPERTS].sums
    np.testing.assert_allclose(matrix.of(Q), matrix.tensors[Q].sums / 20, rtol=1e-6)
    means = matrix.of(EXPERTS)
    assert means.dtype == np.float32
    np.testing.assert_allclose(means[[0, 2]], sums[[0, 2]] / [[7], [13]], rtol=1e-6)
    assert (means[1] == 1).all()  # nothing is known: all columns alike
    with pytest.raises(ConfigError, match=r"a\.gguf: no importance.*mean 'blk.0.attn_q.weight'"):
        matrix.of("blk.0.attn_k.weight")


def test_means_for_a_weight() -> None:
    matrix = example()
    found = matrix.for_weight(EXPERTS, (3, 8, 4))
    assert found is not None
    assert np.array_equal(found, matrix.of(EXPERTS))
    assert matrix.for_weight("token_embd.weight", (9, 6)) is None
    # Files from before experts were counted apart keep a stack in one row.
    flat = ImportanceMatrix({EXPERTS: squares(floats(1, 12), 5)})
    found = flat.for_weight(EXPERTS, (3, 8, 4))
    assert found is not None
    assert np.array_equal(found.ravel(), flat.of(EXPERTS).ravel())
    for shape in ((8, 7), (2, 8, 3), (4, 8, 3), (8, 12)):
        with pytest.raises(ConfigError, match=r"a\.gguf.*belongs to another model"):
            matrix.for_weight(EXPERTS, shape)
    with pytest.raises(ConfigError, match="belongs to another model"):
        flat.for_weight(EXPERTS, (3, 8, 5))


def test_merging_adds() -> None:
    a, b = example(0, "a.gguf"), example(5, "b.gguf")
    more = {**b.tensors, "blk.1.attn_q.weight": squares(floats(1, 6), 3)}
    b = ImportanceMatrix(more, ("b.txt", "c.txt"), 3, 20, "b.gguf")
    both = merge([a, b])
    for name in a.tensors:
        sums = a.tensors[name].sums.astype(np.float64) + b.tensors[name].sums
        assert np.array_equal(both.tensors[name].sums, sums.astype(np.float32))
    assert both.tensors[EXPERTS].counts.tolist() == [14, 0, 26]
    assert both.tensors["blk.1.attn_q.weight"] is more["blk.1.attn_q.weight"]
    assert both.datasets == ("some.txt", "b.txt", "c.txt")
    assert (both.chunk_count, both.chunk_size) == (8, 10)
    assert merge([a]) is a


def test_what_does_not_fit_together_is_refused() -> None:
    a = example()
    b = ImportanceMatrix({Q: squares(floats(1, 7), 20)}, source="b.gguf")
    with pytest.raises(ConfigError, match=r"attn_q.*\[1, 6\] in a\.gguf and \[1, 7\] in b\.gguf"):
        merge([a, b])
    with pytest.raises(ConfigError, match="at least one"):
        merge([])
    huge = ImportanceMatrix({Q: squares(np.full((1, 6), 3e38, np.float32), 20)})
    with pytest.raises(NumericsError, match=r"attn_q.*too large"):
        merge([huge, huge])


def refusal(path: Path) -> str:
    with pytest.raises(PyllamaRtError) as caught:
        read_importance(path)
    message = str(caught.value)
    assert isinstance(caught.value, FormatError)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 400
    return message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("suffix", [".in_sum2", ".counts"])
def test_numbers_that_no_counting_gives(suffix: str, bad: float, tmp_path: Path) -> None:
    spoilt = craft()
    tensor = spoilt.tensor(EXPERTS + suffix)
    tensor.data = tensor.data[:-4] + struct.pack("<f", bad)
    message = refusal(save(tmp_path, spoilt.build()))
    assert repr(EXPERTS) in message
    assert "not negative" in message


def test_broken_pairs_are_refused(tmp_path: Path) -> None:
    lone = craft()
    lone.tensors.remove(lone.tensor(Q + ".counts"))
    assert f"'{Q}.counts' is missing" in refusal(save(tmp_path, lone.build()))
    half = craft()
    half.tensor(Q + ".in_sum2").type = 1
    assert "expected type f32, found f16" in refusal(save(tmp_path, half.build()))
    odd = craft()
    odd.tensor(Q + ".counts").dims, odd.tensor(Q + ".counts").data = [1, 4], bytes(16)
    assert "each of the 4 matrices" in refusal(save(tmp_path, odd.build()))
    empty = craft()
    empty.tensor(Q + ".counts").dims, empty.tensor(Q + ".counts").data = [0], b""
    refusal(save(tmp_path, empty.build()))
    none = craft()
    none.tensors = [Tensor.f32("x", floats(2))]
    assert "expected pairs of tensors" in refusal(save(tmp_path, none.build()))


def test_other_files_are_refused(tmp_path: Path) -> None:
    model = craft()
    del model.keys["general.type"]
    assert "expected 'imatrix'" in refusal(save(tmp_path, model.build()))
    negative = craft()
    negative.keys["imatrix.chunk_count"] = number(INT32, -1)
    assert "imatrix.chunk_count: expected 0 to" in refusal(save(tmp_path, negative.build()))
    assert "empty" in refusal(save(tmp_path, b""))
    refusal(save(tmp_path, b"Once upon a time there was a fox."))


def test_no_prefix_of_a_file_is_taken(tmp_path: Path) -> None:
    whole = craft().build()
    for n in range(len(whole)):
        path = save(tmp_path, whole[:n])
        with pytest.raises(PyllamaRtError):
            read_importance(path)


def dat(entries: dict[str, tuple[int, list[float]]], tail: bytes = b"") -> bytes:
    out = struct.pack("<i", len(entries))
    for name, (n_chunks, values) in entries.items():
        out += struct.pack(f"<i{len(name)}sii", len(name), name.encode(), n_chunks, len(values))
        out += struct.pack(f"<{len(values)}f", *values)
    return out + tail


TAIL = struct.pack("<ii5s", 40, 5, b"a.txt")
ENTRIES: dict[str, tuple[int, list[float]]] = {Q: (40, [80.0, 20.0]), "b": (0, [3.0])}


def test_the_older_format(tmp_path: Path) -> None:
    found = read_importance(save(tmp_path, dat(ENTRIES, TAIL)))
    assert found.of(Q).tolist() == [[2.0, 0.5]]
    assert found.of("b").tolist() == [[3.0]]
    assert found.tensors[Q].counts.tolist() == [40 * 512]
    assert (found.datasets, found.chunk_count, found.chunk_size) == (("a.txt",), 40, 512)
    bare = read_importance(save(tmp_path, dat(ENTRIES)))
    assert (bare.datasets, bare.chunk_count) == ((), 40)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (struct.pack("<i", 0), "number of entries at byte 0: expected 1 to"),
        (struct.pack("<i", -1), "number of entries"),
        (struct.pack("<ii", 1, 1 << 30), "length of name of entry 0 at byte 4"),
        (struct.pack("<ii", 1, -1), "length of name of entry 0"),
        (struct.pack("<ii1sii", 1, 1, b"x", 1, 1 << 30), "4294967296 bytes, found 0"),
        (struct.pack("<ii1sii", 1, 1, b"x", 1, 0), "number of values of 'x'"),
        (struct.pack("<ii1sii", 1, 1, b"x", -1, 1), "chunks of 'x'"),
        (struct.pack("<ii1siif", 1, 1, b"\x1b", 1, 1, 1), "the name of a tensor"),
        (struct.pack("<i", 2) + 2 * dat({"x": (1, [1.0])})[4:], "no entry before it"),
        (dat({"x": (1, [float("nan")])}), "'x'"),
        (dat({"x": (1, [3e38])}), "'x'"),
        (dat({"x": (1, [1.0])}, struct.pack("<ii", 1, 9) + b"short"), "name of the text"),
    ],
)
def test_older_files_that_lie_are_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    assert reason in refusal(save(tmp_path, data))


def test_older_files_that_end_too_soon(tmp_path: Path) -> None:
    whole, without_tail = dat(ENTRIES, TAIL), dat(ENTRIES)
    for n in range(len(whole)):
        if n not in (len(without_tail), len(without_tail) + 4):
            refusal(save(tmp_path, whole[:n]))


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    named = ImportanceMatrix({"x" * 60: squares(floats(1, 2), 1)})
    with pytest.raises(ConfigError, match="63 bytes"):
        write_importance(tmp_path / "a.gguf", named)
    assert list(tmp_path.iterdir()) == []
