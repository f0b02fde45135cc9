"""Meta's directories: the same file as from Hugging Face, whatever the number of shards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import N_PIECES, HuggingFace, config, sentencepiece, weights
from convert_refused import refused
from meta_checkpoints import Meta
from torch_files import write_torch

from pyllama_rt.convert import convert_checkpoint, meta_params
from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.errors import ConfigError, NumericsError
from pyllama_rt.formats.gguf import GgufFile
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.gguf_config import read_config


def converted(source: Path, **options: Any) -> bytes:
    out = source.parent / f"{source.name}.gguf"
    convert_checkpoint(source, out, **options)
    return out.read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Hugging Face folder of the same weights; the name of a folder becomes the model's."""
    return HuggingFace().write(tmp_path_factory.mktemp("hf") / "m")


@pytest.mark.parametrize("n_shards", [1, 2])
@pytest.mark.parametrize("outtype", [None, "f32", "q8_0"])
def test_the_result_is_that_of_hugging_face(
    n_shards: int, outtype: str | None, expected: Path, tmp_path: Path
) -> None:
    """Two shards of 273 pieces: 136 and 137 rows of the output."""
    meta = Meta(n_shards=n_shards)
    folder = meta.write(tmp_path / "m")
    assert converted(folder, outtype=outtype) == converted(expected, outtype=outtype)


def test_eight_shards_of_grouped_heads(tmp_path: Path) -> None:
    """One head of keys a shard, as the largest LLaMA 2 has."""
    values = config(hidden_size=64, num_attention_heads=16, num_key_value_heads=8)
    source = HuggingFace(values, dtype="BF16")
    (tmp_path / "hf").mkdir()
    expected = converted(source.write(tmp_path / "hf" / "m"))
    folder = Meta(source, n_shards=8).write(tmp_path / "m")
    assert converted(folder) == expected


def test_embeddings_may_be_split_by_rows(expected: Path, tmp_path: Path) -> None:
    folder = Meta(n_shards=2, embedding_rows=True).write(tmp_path / "m")
    assert converted(folder) == converted(expected)


def test_uneven_output_of_extended_vocabularies(tmp_path: Path) -> None:
    """As merged Chinese-LLaMA models are split: the second shard has a row more."""
    meta = Meta(n_shards=2)
    rows = [len(shard["output.weight"]) for shard in meta.shards]
    assert rows == [N_PIECES // 2, N_PIECES // 2 + 1]
    meta.source.dtype = "F32"
    convert_checkpoint(meta.write(tmp_path / "m"), tmp_path / "x.gguf", outtype="f32")
    with GgufFile.open(tmp_path / "x.gguf") as file:
        found = np.frombuffer(file.tensor_data("output.weight"), np.float32)
    assert found.tobytes() == meta.source.arrays["lm_head.weight"].tobytes()


def test_the_tokenizer_may_lie_above(expected: Path, tmp_path: Path) -> None:
    folder = Meta().write(tmp_path / "m")
    (folder / "tokenizer.model").rename(tmp_path / "tokenizer.model")
    assert converted(folder) == converted(expected)


def test_old_tables_of_the_rotation_are_left_out(expected: Path, tmp_path: Path) -> None:
    meta = Meta()
    meta.shards[0]["layers.0.attention.inner_attention.rope.freqs"] = np.ones(4, np.float32)
    assert converted(meta.write(tmp_path / "m")) == converted(expected)


def test_norms_may_drift_apart_a_little(expected: Path, tmp_path: Path) -> None:
    """As those of LLaMA 3's largest models; the first shard's count, as in transformers."""
    meta = Meta(n_shards=2)
    meta.shards[1][NORM] = meta.shards[1][NORM] + np.float32(0.005)
    assert converted(meta.write(tmp_path / "m")) == converted(expected)


def config_of(params: dict[str, Any], folder: Path, **sizes: Any) -> TransformerConfig:
    meta = Meta(HuggingFace(config(**sizes)))
    meta.params = {**meta.params, **params}
    meta.params = {key: value for key, value in meta.params.items() if value is not None}
    convert_checkpoint(meta.write(folder), folder / "x.gguf")
    with GgufFile.open(folder / "x.gguf") as file:
        return read_config(file, "llama")


def test_what_the_params_leave_out(tmp_path: Path) -> None:
    one = {"n_kv_heads": None, "rope_theta": None, "max_seq_len": None, "norm_eps": 1e-6}
    first = config_of(one, tmp_path / "1", num_key_value_heads=4)
    assert first.rope is not None
    assert (first.n_ctx_train, first.rope.base, first.n_kv_heads) == (2048, 10000.0, (4, 4))
    second = config_of({"rope_theta": None, "max_seq_len": None}, tmp_path / "2")
    assert second.n_ctx_train == 4096
    code = config_of({"rope_theta": 1e6, "max_seq_len": None}, tmp_path / "3")
    assert code.n_ctx_train == 16384


def test_the_largest_of_the_first_generation_has_its_context() -> None:
    params = {"dim": 8192, "multiple_of": 256, "n_heads": 64, "n_layers": 80, "norm_eps": 1e-5,
              "vocab_size": -1}  # fmt: skip
    reader = JsonMetadata(params, "params.json")
    assert meta_params.config_of(reader, 32000, 22016).n_ctx_train == 2048
    params["n_kv_heads"] = 8
    assert meta_params.config_of(reader, 32000, 28672).n_ctx_train == 4096


PARAMS: dict[str, tuple[dict[str, Any], str]] = {
    "fewer layers": ({"n_layers": 1}, "params.json promises fewer layers than layer 1"),
    "more layers": ({"n_layers": 3}, r"no tensor layers\.2\..*n_layers"),
    "no layers": ({"n_layers": 0}, "n_layers"),
    "layers without end": ({"n_layers": 2**40}, "n_layers"),
    "layers no number": ({"n_layers": "2"}, "n_layers.*a whole number"),
    "other heads": ({"n_kv_heads": 1}, r"wk\.weight'.*expected shape \[8, 32\].*found \[16, 32\]"),
    "heads that do not divide": ({"n_heads": 5}, "params.json: n_heads"),
    "more KV heads than heads": ({"n_kv_heads": 8}, "params.json: n_kv_heads"),
    "other width": ({"dim": 64}, "expected shape"),
    "other vocabulary": ({"vocab_size": 99}, "vocab_size: the tensors have 273 rows, found 99"),
    "other hidden width": ({"hidden_dim": 65}, "hidden_dim: the tensors have 64 rows"),
    "odd heads": ({"head_dim": 9}, "params.json: head_dim"),
    "epsilon": ({"norm_eps": -1.0}, "params.json: norm_eps"),
    "rope base": ({"rope_theta": 0}, "params.json: rope_theta"),
    "scaled positions": ({"use_scaled_rope": True}, "use_scaled_rope"),
    "window": ({"sliding_window": 4096}, "sliding_window.*may change the arithmetic"),
    "experts": ({"moe": {"num_experts": 8}}, "moe.*may change the arithmetic"),
    "misspelt": ({"n_layer": 2}, "did you mean 'n_layers'"),
}


@pytest.mark.parametrize("case", PARAMS)
def test_lying_params_are_refused(case: str, tmp_path: Path) -> None:
    changes, message = PARAMS[case]
    meta = Meta(n_shards=2)
    meta.params.update(changes)
    refused(meta.write(tmp_path / "m")).match(message)


Damage = Callable[[Meta], object]


def change(name: str, edit: Callable[[Any], Any], shard: int = 1) -> Damage:
    def damage(meta: Meta) -> None:
        meta.shards[shard][name] = edit(meta.shards[shard][name])

    return damage


W1 = "layers.0.feed_forward.w1.weight"
W2 = "layers.0.feed_forward.w2.weight"
NORM = "layers.1.ffn_norm.weight"
DAMAGE: dict[str, tuple[Damage, str]] = {
    "missing tensor": (lambda m: m.shards[1].pop(W2), r"01\.pth: it holds no tensor .*w2"),
    "missing output": (lambda m: m.shards[1].pop("output.weight"), "no tensor output.weight"),
    "misspelt tensor": (
        lambda m: m.shards[0].update({"layers.0.feed_forward.w4.weight": np.ones(1, np.float32)}),
        "unexpected tensor.*did you mean",
    ),
    "norms that differ": (change(NORM, lambda a: a + 1), "the numbers that are in consolidated.00"),
    "rows of another width": (change(W1, lambda a: a[:, :5]), r"01\.pth: .*w1.*to go with F16"),
    "fewer rows": (change(W1, lambda a: a[:-1]), "w3.*expected shape"),
    "fewer columns": (change(W2, lambda a: a[:, :-1]), "w2.*expected shape"),
    "columns of other rows": (change(W2, lambda a: a[:-1]), r"01\.pth: .*w2.*to go with"),
    "vector for a matrix": (change(W2, lambda a: a[0]), r"01\.pth: .*w2.*to go with"),
    "matrix for a vector": (change(NORM, lambda a: a[None]), r"01\.pth: .*ffn_norm.*to go with"),
    "output of one dimension": (change("output.weight", lambda a: a[0]), "expected a matrix"),
    "narrower embedding": (
        change("tok_embeddings.weight", lambda a: a[:, :-1]),
        "tok_embeddings.*expected shape",
    ),
    "vector for the embedding": (
        change("tok_embeddings.weight", lambda a: a[0], 0),
        "tok_embeddings.*to go with",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_shards_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    damage, message = DAMAGE[case]
    meta = Meta(n_shards=2)
    damage(meta)
    refused(meta.write(tmp_path / "m")).match(message)


def test_missing_shards_are_named(tmp_path: Path) -> None:
    for i, (gone, message) in enumerate(
        [
            (("00",), "consolidated.00.pth: this part of the checkpoint is missing"),
            (("01",), "consolidated.01.pth: this part of the checkpoint is missing"),
            (("02",), "may be missing"),
            (("00", "01", "02"), "consolidated.00.pth: this part"),
        ]
    ):
        folder = Meta(n_shards=3, source=HuggingFace(config(intermediate_size=66))).write(
            tmp_path / str(i)
        )
        for number in gone:
            (folder / f"consolidated.{number}.pth").unlink()
        refused(folder).match(message)


def test_shards_of_different_dtypes_are_refused(tmp_path: Path) -> None:
    meta = Meta(n_shards=2)
    folder = meta.write(tmp_path / "m")
    write_torch(folder / "consolidated.01.pth", meta.shards[1], "BF16")
    refused(folder).match("found BF16")
    meta = Meta(HuggingFace(dtype="F64"))
    refused(meta.write(tmp_path / "f64")).match("dtype F64")


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    meta = Meta(n_shards=2)
    meta.shards[1][W2][3, 5] = np.nan
    error = refused(meta.write(tmp_path / "m"))
    assert error.type is NumericsError
    error.match(r"feed_forward\.w2")


def test_a_vocabulary_of_tiktoken_is_refused(tmp_path: Path) -> None:
    lines = b"".join(b"%s %d\n" % (text, i) for i, text in enumerate([b"IQ==", b"Ig==", b"IyM="]))
    refused(Meta(tokenizer=lines).write(tmp_path / "m")).match("tiktoken's format, as LLaMA 3")
    folder = HuggingFace().write(tmp_path / "hf")
    (folder / "tokenizer.model").write_bytes(lines)
    refused(folder).match("tiktoken's format")


def test_vocabularies_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    folder = Meta().write(tmp_path / "1" / "m")
    (folder / "tokenizer.model").unlink()
    refused(folder).match("no tokenizer.model, neither here nor in the folder above")
    longer = Meta(tokenizer=sentencepiece([("x", 1)])).write(tmp_path / "m")
    refused(longer).match(f"{N_PIECES + 1} pieces, but the embedding has {N_PIECES} rows")


def test_a_source_is_never_written_over(tmp_path: Path) -> None:
    folder = Meta(n_shards=2).write(tmp_path / "m")
    (folder / "tokenizer.model").rename(tmp_path / "tokenizer.model")
    for out in (
        folder / "params.json", folder / "consolidated.01.pth", tmp_path / "tokenizer.model"
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="replace its own input"):
            convert_checkpoint(folder, out)


def test_hugging_face_is_preferred(expected: Path, tmp_path: Path) -> None:
    """A folder that has both kinds of config: that with the chat template wins."""
    Meta(HuggingFace(arrays=weights(config(), seed=1))).write(tmp_path / "m")
    HuggingFace().write(tmp_path / "m")
    assert converted(tmp_path / "m") == converted(expected)
