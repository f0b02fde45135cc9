"""Metadata of GGUF files, changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import HuggingFace

from pyllama_rt.convert import convert_checkpoint, edit_file, split_file
from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter, ValueType


@pytest.fixture
def model(tmp_path: Path) -> Path:
    convert_checkpoint(HuggingFace().write(tmp_path / "m"), tmp_path / "in.gguf")
    return tmp_path / "in.gguf"


def edited(model: Path, *assignments: str, removals: tuple[str, ...] = ()) -> dict[str, Any]:
    """The metadata of the new file, whose tensors are those of the old one."""
    out = model.with_name("out.gguf")
    edit_file(model, out, assignments=assignments, removals=removals)
    with GgufFile.open(model) as old, GgufFile.open(out) as new:
        assert list(old.tensors) == list(new.tensors)
        for name in old.tensors:
            assert old.tensor_data(name) == new.tensor_data(name)
        return dict(new.metadata)


def test_keys_are_changed_added_and_removed(model: Path) -> None:
    with GgufFile.open(model) as file:
        before = dict(file.metadata)
    after = edited(
        model,
        "general.name=A = B: C",
        "llama.context_length=4096",
        "llama.rope.freq_base=5e5",
        "tokenizer.ggml.add_bos_token=false",
        "general.license:string=mit",
        "general.note:int8=-3",
        removals=("tokenizer.ggml.pre",),
    )
    before.pop("tokenizer.ggml.pre")
    assert after == {
        **before,
        "general.name": "A = B: C",
        "llama.context_length": 4096,
        "llama.rope.freq_base": 5e5,
        "tokenizer.ggml.add_bos_token": False,
        "general.license": "mit",
        "general.note": -3,
    }
    assert list(after) == [*before, "general.license", "general.note"]


def test_types_stay_unless_another_is_asked_for(model: Path) -> None:
    edited(model, "llama.context_length=70", "general.file_type:uint64=1")
    with GgufFile.open(model) as old, GgufFile.open(model.with_name("out.gguf")) as new:
        assert new.value_type("llama.context_length") is old.value_type("llama.context_length")
        assert new.value_type("general.file_type") is ValueType.UINT64


@pytest.mark.parametrize("kind", [k for k in ValueType if k is not ValueType.ARRAY])
def test_every_type_can_be_added(kind: ValueType, model: Path) -> None:
    text = {"BOOL": "true", "STRING": "häuser 字", "FLOAT32": "0.5", "FLOAT64": "-1e300"}
    after = edited(model, f"x:{kind.name.lower()}={text.get(kind.name, '100')}")
    assert after["x"] in (True, "häuser 字", 0.5, -1e300, 100)
    with GgufFile.open(model.with_name("out.gguf")) as file:
        assert file.value_type("x") is kind


BAD: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "nothing": ((), (), "needs something to do"),
    "no value": (("general.name",), (), "expected KEY=VALUE"),
    "no key": (("=x",), (), "expected KEY=VALUE"),
    "unknown key": (("general.nam=x",), (), "did you mean 'general.name'.*:string=VALUE"),
    "unknown type": (("a:strin=x",), (), "did you mean 'string'.*choose from"),
    "array type": (("a:array=x",), (), "type 'array' is unknown"),
    "array": (("tokenizer.ggml.tokens=x",), (), "can be removed but not set"),
    "no number": (("llama.context_length=x",), (), "a number for uint32, found 'x'"),
    "negative": (("llama.context_length=-1",), (), "UINT32"),
    "too large": (("llama.context_length=4294967296",), (), "UINT32"),
    "5000 digits": ((f"llama.context_length={'9' * 5000}",), (), "a number for uint32"),
    "fraction": (("llama.context_length=1.5",), (), "a number for uint32"),
    "underscore": (("llama.context_length=1_0",), (), "a number for uint32"),
    "no float": (("llama.rope.freq_base=x",), (), "a number for float32"),
    "not finite": (("llama.rope.freq_base=nan",), (), "a number for float32"),
    "float too large": (("llama.rope.freq_base=1e39",), (), "FLOAT32"),
    "no bool": (("tokenizer.ggml.add_bos_token=1",), (), "true or false, found '1'"),
    "half a pair": (("general.name=\udc80",), (), "UTF-8"),
    "key with a line end": (("a\nb:string=x",), (), "printable"),
    "twice": (("general.name=a", "general.name=b"), (), "set twice"),
    "set and removed": (("general.name=a",), ("general.name",), "set and removed"),
    "removes nothing": ((), ("general.nam",), "no such key.*did you mean 'general.name'"),
    "alignment": (("general.alignment:uint32=64",), (), "cannot change"),
    "alignment removed": ((), ("general.alignment",), "cannot change"),
    "split": (("split.count:uint16=2",), (), "pyllama-rt split"),
    # What a reader would refuse.
    "other layers": (("llama.block_count=3",), (), "cannot be loaded.*blk.2"),
    "fewer layers": (("llama.block_count=1",), (), "cannot be loaded.*a layer too many"),
    "other heads": (("llama.attention.head_count=3",), (), "cannot be loaded.*head_count"),
    "other width": (("llama.embedding_length=64",), (), "cannot be loaded.*expected shape"),
    "epsilon": (("llama.attention.layer_norm_rms_epsilon=0",), (), "cannot be loaded.*epsilon"),
    "no context": ((), ("llama.context_length",), "cannot be loaded.*context_length"),
    "other type": (("llama.block_count:string=2",), (), "cannot be loaded.*block_count"),
    "architecture": (("general.architecture=lama",), (), "cannot be loaded.*did you mean 'llama'"),
    "tokenizer": (("tokenizer.ggml.model=spm",), (), "cannot be loaded.*tokenizer 'spm'"),
    "special id": (("tokenizer.ggml.bos_token_id=9999",), (), "cannot be loaded.*bos_id"),
    "no pieces": ((), ("tokenizer.ggml.tokens",), "cannot be loaded"),
    "no scores": ((), ("tokenizer.ggml.scores",), "cannot be loaded.*scores"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_changes_are_refused(case: str, model: Path) -> None:
    assignments, removals, message = BAD[case]
    out = model.with_name("out.gguf")
    out.write_bytes(b"old")
    with pytest.raises(ValueError, match=message) as caught:
        edit_file(model, out, assignments=assignments, removals=removals)
    assert "\n" not in str(caught.value)
    assert out.read_bytes() == b"old"


def test_a_file_is_never_edited_in_place(model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    (tmp_path / "link.gguf").hardlink_to(model)
    for out in (model, tmp_path / "link.gguf"):
        with pytest.raises(ConfigError, match="replace its own input"):
            edit_file(model, out, assignments=["general.name=x"])
    assert model.read_bytes() == before


def test_broken_files_can_be_repaired(model: Path) -> None:
    """What is refused before the change may be refused after it: more than one may be needed."""
    broken = model.with_name("broken.gguf")
    with GgufFile.open(model) as file, GgufWriter(broken) as writer:
        for key in file.metadata:
            if key != "llama.context_length":
                writer.copy(file.metadata, key)
        for name, info in file.tensors.items():
            writer.declare(name, info.shape, info.type)
        for name in file.tensors:
            writer.write_tensor(name, file.tensor_data(name))
    edit_file(broken, model.with_name("out.gguf"), assignments=["general.name=x"])
    after = edited(broken, "llama.context_length:uint32=128")
    assert after["llama.context_length"] == 128


def test_other_architectures_are_edited_unseen(tmp_path: Path) -> None:
    with GgufWriter(tmp_path / "in.gguf", alignment=64) as writer:
        writer.add("general.architecture", "unheard-of")
        writer.add("bytes", b"\xff\xfe")
        writer.declare("a", (5,), "f32")
        writer.write_tensor("a", bytes(20))
    edit_file(tmp_path / "in.gguf", tmp_path / "out.gguf", assignments=["n:uint8=1"])
    with GgufFile.open(tmp_path / "out.gguf") as file:
        assert file.alignment == 64
        assert file.metadata.raw("bytes")[8:] == b"\xff\xfe"
        assert file.get_int("n") == 1


def test_split_models_become_one(model: Path, tmp_path: Path) -> None:
    parts = split_file(model, tmp_path / "p", max_tensors=4)
    edit_file(parts[2], tmp_path / "a.gguf", assignments=["general.name=x"])
    edit_file(model, tmp_path / "b.gguf", assignments=["general.name=x"])
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_an_interrupted_run_leaves_nothing(model: Path, tmp_path: Path) -> None:
    def stop(name: str, n_done: int, n_total: int) -> None:
        raise KeyboardInterrupt(name, n_done, n_total)

    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        edit_file(model, tmp_path / "out" / "x", assignments=["general.name=x"], progress=stop)
    assert not list((tmp_path / "out").iterdir())


def test_the_package_reads_the_result(model: Path) -> None:
    gguf = pytest.importorskip("gguf")
    edited(model, "general.name=x", "general.license:string=mit")
    reader = gguf.GGUFReader(model.with_name("out.gguf"))
    assert reader.get_field("general.license").contents() == "mit"
    assert len(reader.tensors) == 21
