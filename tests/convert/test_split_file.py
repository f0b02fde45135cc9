"""Models over several files and back: nothing is lost, and nothing is left behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import HuggingFace

from pyllama_rt.convert import convert_checkpoint, merge_file, quantize_file, split_file
from pyllama_rt.errors import ConfigError, PyllamaRtError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter, ValueType


@pytest.fixture
def model(tmp_path: Path) -> Path:
    convert_checkpoint(HuggingFace().write(tmp_path / "m"), tmp_path / "in.gguf")
    return tmp_path / "in.gguf"


def contents(path: Path) -> tuple[dict[str, Any], dict[str, tuple[Any, bytes]]]:
    """Metadata with types, and tensors, of a model in any number of files."""
    with GgufFile.open(path) as file:
        keys = {
            key: (file.value_type(key), file.element_type(key), file.metadata.raw(key))
            for key in file.metadata
            if not key.startswith("split.")
        }
        tensors = {
            name: ((info.shape, info.type), bytes(file.tensor_data(name)))
            for name, info in file.tensors.items()
        }
        return keys, tensors


@pytest.mark.parametrize("max_tensors", [1, 8, 21, 1000])
def test_a_model_comes_back(max_tensors: int, model: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []

    def note(name: str, n_done: int, n_total: int) -> None:
        del name
        done.append((n_done, n_total))

    paths = split_file(model, tmp_path / "p", max_tensors=max_tensors, progress=note)
    n_parts = -(-21 // max_tensors)
    assert [path.name for path in paths] == [
        f"p-{i + 1:05d}-of-{n_parts:05d}.gguf" for i in range(n_parts)
    ]
    assert done[-1][0] == done[-1][1]
    for path in paths if n_parts > 1 else paths[:1]:
        assert contents(path) == contents(model)
    out = tmp_path / "out.gguf"
    assert merge_file(paths[-1], out) == n_parts
    assert out.read_bytes() == model.read_bytes()


@pytest.mark.parametrize("max_bytes", [18000, 30000, 50000, 10**6])
def test_no_file_is_larger_than_asked(max_bytes: int, model: Path, tmp_path: Path) -> None:
    paths = split_file(model, tmp_path / "p", max_bytes=max_bytes)
    sizes = [path.stat().st_size for path in paths]
    assert max(sizes) <= max_bytes
    assert len(paths) == (1 if max_bytes == 10**6 else len(paths)) > (max_bytes < 10**6)
    merge_file(paths[0], tmp_path / "out.gguf")
    assert (tmp_path / "out.gguf").read_bytes() == model.read_bytes()
    # One byte less than the largest file, and a tensor of it moves on.
    largest = max(sizes)
    again = split_file(model, tmp_path / "q", max_bytes=largest)
    assert [path.stat().st_size for path in again] == sizes
    for path in split_file(model, tmp_path / "r", max_bytes=largest - 1):
        assert path.stat().st_size < largest


def test_the_parts_say_what_they_are(model: Path, tmp_path: Path) -> None:
    paths = split_file(model, tmp_path / "p", max_tensors=10)
    for number, path in enumerate(paths):
        single = tmp_path / "single.gguf"
        single.write_bytes(path.read_bytes())
        with pytest.raises(PyllamaRtError, match=f"part {number + 1} of 3"):
            GgufFile.open(single)
    with GgufFile.open(paths[1]) as file:
        types = {key: file.value_type(key) for key in file.metadata if key.startswith("split.")}
        assert types == {
            "split.no": ValueType.UINT16,
            "split.count": ValueType.UINT16,
            "split.tensors.count": ValueType.INT32,
        }
        assert file.get_int("split.tensors.count") == 21


def test_another_alignment_stays(tmp_path: Path) -> None:
    source = tmp_path / "in.gguf"
    with GgufWriter(source, alignment=8) as writer:
        writer.add("general.architecture", "llama")
        for name in "abc":
            writer.declare(name, (5,), "f32")
        for name in "abc":
            writer.write_tensor(name, np.ones(5, np.float32))
    counts = set()
    for max_bytes in range(250, 500):  # so that a byte that is counted wrongly shows
        paths = split_file(source, tmp_path / f"p{max_bytes}", max_bytes=max_bytes)
        assert max(path.stat().st_size for path in paths) <= max_bytes
        counts.add(len(paths))
    assert counts == {1, 2, 3}
    merge_file(paths[0], tmp_path / "out.gguf")
    assert (tmp_path / "out.gguf").read_bytes() == source.read_bytes()


def test_split_models_are_split_and_quantised_again(model: Path, tmp_path: Path) -> None:
    paths = split_file(model, tmp_path / "p", max_tensors=5)
    again = split_file(paths[2], tmp_path / "q", max_tensors=11)
    assert len(again) == 2
    assert contents(again[0]) == contents(model)
    quantize_file(again[1], tmp_path / "a.gguf", "q8_0")
    quantize_file(model, tmp_path / "b.gguf", "q8_0")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_impossible_wishes_are_refused(model: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    cases: list[tuple[dict[str, Any], str]] = [
        ({"max_bytes": 100}, "the metadata takes one of"),
        ({"max_bytes": 12000}, r"tensor token_embd\.weight takes one of"),
        ({}, "one of the two"),
        ({"max_bytes": 10**6, "max_tensors": 1}, "one of the two"),
    ]
    for options, message in cases:
        with pytest.raises(ConfigError, match=message):
            split_file(model, tmp_path / "p", **options)
    for prefix in (tmp_path / "p.gguf", Path("/")):
        with pytest.raises(ConfigError, match="the start of the files' names"):
            split_file(model, prefix, max_tensors=10)
    with pytest.raises(ConfigError, match="does not exist"):
        split_file(model, tmp_path / "no" / "p", max_tensors=10)
    with pytest.raises(ConfigError, match="nothing to merge"):
        merge_file(model, tmp_path / "out.gguf")
    assert sorted(tmp_path.iterdir()) == before


def test_the_number_of_files_is_limited(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["pyllama_rt.convert.split_file"], "MAX_PARTS", 20)
    with pytest.raises(ConfigError, match="21 files are too many"):
        split_file(model, tmp_path / "p", max_tensors=1)
    assert len(split_file(model, tmp_path / "p", max_tensors=2)) == 11


def test_files_that_exist_stay(model: Path, tmp_path: Path) -> None:
    (tmp_path / "p-00002-of-00003.gguf").write_bytes(b"old")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="exists already"):
        split_file(model, tmp_path / "p", max_tensors=10)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "p-00002-of-00003.gguf").read_bytes() == b"old"


def test_a_merge_never_replaces_a_part(model: Path, tmp_path: Path) -> None:
    paths = split_file(model, tmp_path / "p", max_tensors=10)
    (tmp_path / "link").symlink_to(paths[1])
    for out in (paths[2], tmp_path / "link"):
        with pytest.raises(ConfigError, match="replace its own input"):
            merge_file(paths[0], out)
    paths[1].unlink()
    with pytest.raises(PyllamaRtError, match="part 2 of 3 of the model is missing"):
        merge_file(paths[0], tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_an_interrupted_run_leaves_nothing(model: Path, tmp_path: Path) -> None:
    def stop(name: str, n_done: int, n_total: int) -> None:
        if n_done > n_total // 2:
            raise KeyboardInterrupt(name)

    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        split_file(model, out / "p", max_tensors=2, progress=stop)
    assert not list(out.iterdir())
    paths = split_file(model, tmp_path / "p", max_tensors=2)
    with pytest.raises(KeyboardInterrupt):
        merge_file(paths[0], out / "x.gguf", progress=stop)
    assert not list(out.iterdir())


def test_the_package_reads_the_parts(model: Path, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    names = []
    for number, path in enumerate(split_file(model, tmp_path / "p", max_tensors=10)):
        reader = gguf.GGUFReader(path)
        assert reader.get_field("split.no").contents() == number
        assert reader.get_field("split.count").contents() == 3
        names += [tensor.name for tensor in reader.tensors]
    with GgufFile.open(model) as file:
        assert names == list(file.tensors)
