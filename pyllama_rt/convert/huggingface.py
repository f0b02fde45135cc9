"""Checkpoints in Hugging Face directories."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pyllama_rt.convert.checkpoint import Checkpoint, model_name, naming
from pyllama_rt.convert.gguf_holds import check_gguf_holds
from pyllama_rt.convert.huggingface_vocabulary import read_vocabulary
from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.convert.lazy_tensor import LazyTensor, weight_type
from pyllama_rt.convert.sentence_pooling import POOLING_FILE, read_pooling
from pyllama_rt.convert.transforms import TRANSPOSE, added, row_order
from pyllama_rt.convert.weight_shards import INDEXES, Stored, open_shards
from pyllama_rt.convert.wordpiece_draft import WordPieceDraft
from pyllama_rt.errors import ConfigError, FormatError, UnsupportedError, did_you_mean, shown
from pyllama_rt.formats.tensor_types import TENSOR_TYPES
from pyllama_rt.models.config import TransformerConfig
from pyllama_rt.models.gguf_config import divisor_tensors
from pyllama_rt.models.hf_keys import check_hf_keys
from pyllama_rt.models.registry import Architecture, TensorSpec, architecture_of_hf

_LAYER = re.compile(r"model\.layers\.([0-9]{1,5})\.")
_COMPARE_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class ExpectedTensor:
    """One tensor of an architecture, for one layer of one config.

    hf: its names in a checkpoint, of which GGUF stacks several. sizes: behind the shape's symbols.
    """

    spec: TensorSpec
    gguf: str
    hf: tuple[str, ...]
    shape: tuple[int, ...]
    sizes: dict[str, int]


def read_config(path: Path) -> tuple[Architecture, TransformerConfig, JsonMetadata]:
    """The architecture and config in a config.json, and the file itself.

    Raises: ConfigError if there is no such file; FormatError, UnsupportedError for what it says.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file; expected a model's config.json")
    reader = JsonMetadata.read(path)
    with naming(path):
        architecture = architecture_of_hf(list(reader.get_strings("architectures")), path)
        if reader.has("quantization_config"):
            raise UnsupportedError(
                "quantization_config: checkpoints that are quantised already are not supported; "
                "start from the original weights"
            )
        pooling = read_pooling(path.parent) if architecture.name == "bert" else None
        if pooling is not None:
            reader = JsonMetadata({**reader.values, "pooling": pooling}, path)
        config = architecture.from_hf(reader)
        check_hf_keys(reader.values, architecture.hf_keys)
        check_gguf_holds(architecture, config)
        return architecture, config, reader


def expected_tensors(
    architecture: Architecture, config: TransformerConfig
) -> Iterator[ExpectedTensor]:
    """Every tensor that the config promises, optional ones included: per-model ones first."""
    tensors = architecture.tensors(config)
    shared = [spec for spec in tensors if "{i}" not in spec.gguf]
    per_layer = [spec for spec in tensors if "{i}" in spec.gguf]
    for layer, specs in [(0, shared), *((i, per_layer) for i in range(config.n_layers))]:
        sizes = config.sizes(layer)
        for spec in specs:
            gguf, hf = (name.replace("{i}", str(layer)) for name in (spec.gguf, spec.hf))
            n_parts = sizes["experts"] if "{e}" in hf else 1
            names = tuple(hf.replace("{e}", str(part)) for part in range(n_parts))
            yield ExpectedTensor(spec, gguf, names, tuple(sizes[s] for s in spec.shape), sizes)


def open_huggingface(folder: Path, stack: ExitStack) -> Checkpoint:
    """The checkpoint in a directory, checked.

    Args: stack: closes its files.
    Raises: ConfigError, FormatError, UnsupportedError: one line each, before any output.
    """
    config_path = folder / "config.json"
    architecture, config, reader = read_config(config_path)
    stored = _without_prefix(open_shards(folder, stack), architecture)
    expected = list(expected_tensors(architecture, config))
    _check_names(stored, expected, config_path)
    is_tied = _is_tied(stored, expected, reader)
    tensors = tuple(
        _tensor(e, [stored[name] for name in e.hf])
        for e in expected
        if e.hf[0] in stored and not (is_tied and e.gguf == "output.weight")
    )
    tensors += tuple(_divisors(config, config_path))
    vocabulary = read_vocabulary(folder, reader, config.vocab_size)
    if isinstance(vocabulary, WordPieceDraft) and architecture.name != "bert":
        raise UnsupportedError(
            f"{vocabulary.source}: WordPiece vocabularies are supported for bert only; found "
            f"architecture {architecture.name}"
        )
    used = {file.path for file, _ in stored.values()}
    return Checkpoint(
        name=model_name(folder.resolve().name),
        files=(
            config_path,
            *(folder / name for name in (str(POOLING_FILE), *INDEXES)),
            *vocabulary.files,
            *sorted(used),
        ),
        architecture=architecture,
        config=config,
        vocabulary=vocabulary.gguf_keys(),
        tensors=tensors,
    )


def _without_prefix(stored: dict[str, Stored], architecture: Architecture) -> dict[str, Stored]:
    """The tensors that the graph reads, by names without the architecture's prefix."""
    ignored = re.compile(architecture.hf_ignored)
    prefix = architecture.hf_prefix
    found = {name.removeprefix(prefix): entry for name, entry in stored.items()}
    return {name: entry for name, entry in found.items() if not ignored.fullmatch(name)}


def _check_names(
    stored: dict[str, Stored], expected: list[ExpectedTensor], config_path: Path
) -> None:
    """Raises FormatError for tensors that are missing, and for those that nothing would read."""
    known = {name for e in expected for name in e.hf}
    for e in expected:
        for name in e.hf:
            if name in stored or e.spec.optional:
                continue
            raise FormatError(
                f"{config_path}: it promises tensor {name}, which the checkpoint does not hold"
                f"{did_you_mean(name, set(stored) - known)}; check num_hidden_layers and that "
                "every shard is there"
            )
    for name, (file, _) in stored.items():
        if name in known:
            continue
        layer = _LAYER.match(name)
        hint = (
            f"config.json promises fewer layers than layer {layer[1]}"
            if layer and _LAYER.sub("model.layers.0.", name) in known
            else f"this architecture has no such tensor{did_you_mean(name, known)}"
        )
        raise FormatError(f"{file.path}: unexpected tensor {shown(name)}: {hint}")


def _is_tied(
    stored: dict[str, Stored], expected: list[ExpectedTensor], reader: JsonMetadata
) -> bool:
    """Whether the head is the embedding.

    Raises: FormatError if config.json and the tensors contradict one another.
    """
    names = {e.gguf: e.hf[0] for e in expected}
    if "output.weight" not in names:
        return False
    head, embedding = names["output.weight"], names["token_embd.weight"]
    declared = reader.get_bool("tie_word_embeddings", None)
    has_head = head in stored
    if declared is False and not has_head:
        raise FormatError.at(
            reader.source,
            "tie_word_embeddings",
            expected="true, as the checkpoint holds no lm_head.weight",
            found="false; a shard may be missing",
        )
    if not has_head:
        return True
    if declared and not _same_bytes(stored[head], stored[embedding]):
        raise FormatError.at(
            reader.source,
            "tie_word_embeddings",
            expected="false, as lm_head.weight differs from the embedding",
            found="true",
        )
    return bool(declared)


def _same_bytes(a: Stored, b: Stored) -> bool:
    left, right = a[0].data(a[1].name), b[0].data(b[1].name)
    return len(left) == len(right) and all(
        left[i : i + _COMPARE_BYTES] == right[i : i + _COMPARE_BYTES]
        for i in range(0, len(left), _COMPARE_BYTES)
    )


def _tensor(expected: ExpectedTensor, parts: list[Stored]) -> LazyTensor:
    """The tensor, or the stack of the experts' tensors."""
    shape = expected.shape[1:] if "{e}" in expected.spec.hf else expected.shape
    first, *rest = [_part(expected, shape, stored) for stored in parts]
    if not rest:
        return first
    return replace(first, shape=expected.shape, rest=tuple(rest))


def _divisors(config: TransformerConfig, source: Path) -> Iterator[LazyTensor]:
    """What config.json tells of rotary frequencies and GGUF keeps as tensors."""
    for name, values in divisor_tensors(config).items():
        array = np.array(values, "<f4")
        yield LazyTensor(
            name=name,
            shape=array.shape,
            type=TENSOR_TYPES["f32"],
            data=memoryview(array.tobytes()),
            source=f"{source}: tensor {name}",
        )


def _part(expected: ExpectedTensor, shape: tuple[int, ...], stored: Stored) -> LazyTensor:
    file, entry = stored
    source = f"{file.path}: tensor {shown(entry.name)}"
    type_ = weight_type(entry.dtype, source)
    transform = expected.spec.transform
    is_transposed = transform == TRANSPOSE
    wanted = shape[::-1] if is_transposed else shape
    if entry.shape != wanted:
        raise FormatError(
            f"{source}: expected shape {list(wanted)}, as config.json has "
            f"{' × '.join(expected.spec.shape)}, found {list(entry.shape)}"
        )
    return LazyTensor(
        name=expected.gguf,
        shape=shape,
        type=type_,
        data=file.data(entry.name),
        source=source,
        order=row_order(transform, shape[0], expected.sizes),
        added=added(transform),
        transposed=is_transposed,
    )
