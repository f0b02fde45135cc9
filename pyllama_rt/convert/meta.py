"""Checkpoints as Meta publishes them: `consolidated.NN.pth` with `params.json`.

Models beyond 7B come as several files, each of which holds a part of every matrix. Queries and keys
are in the order of GGUF already.
Source: `ModelArgs`, `Attention` and `FeedForward` in meta-llama/llama, llama/model.py.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pyllama_rt.convert.checkpoint import Checkpoint, model_name
from pyllama_rt.convert.huggingface import ExpectedTensor, expected_tensors
from pyllama_rt.convert.joined_rows import JoinedRows
from pyllama_rt.convert.lazy_tensor import LazyTensor, weight_type
from pyllama_rt.convert.meta_params import config_of, read_params
from pyllama_rt.convert.sentencepiece_draft import draft_sentencepiece
from pyllama_rt.convert.vocabulary_draft import VocabularyDraft
from pyllama_rt.errors import ConfigError, FormatError, did_you_mean, shown
from pyllama_rt.formats.tensor_file import StoredTensor, TensorFile
from pyllama_rt.formats.torch_file import TorchFile
from pyllama_rt.models.registry import architecture
from pyllama_rt.quant import dequantize

PARAMS = "params.json"

_SHARD = re.compile(r"consolidated\.([0-9]{2})\.pth")
_IGNORED = re.compile(r"(layers\.[0-9]+\.attention\.inner_attention\.)?rope\.freqs")
_LAYER = re.compile(r"layers\.([0-9]{1,5})\.")
_DRIFT = 1 / 64
_WHOLE, _ROWS, _COLUMNS = "whole", "rows", "columns"
_TENSORS = {
    "token_embd.weight": ("tok_embeddings.weight", _COLUMNS),  # LLaMA 3: rows
    "output_norm.weight": ("norm.weight", _WHOLE),
    "output.weight": ("output.weight", _ROWS),
    "blk.{i}.attn_norm.weight": ("layers.{i}.attention_norm.weight", _WHOLE),
    "blk.{i}.attn_q.weight": ("layers.{i}.attention.wq.weight", _ROWS),
    "blk.{i}.attn_k.weight": ("layers.{i}.attention.wk.weight", _ROWS),
    "blk.{i}.attn_v.weight": ("layers.{i}.attention.wv.weight", _ROWS),
    "blk.{i}.attn_output.weight": ("layers.{i}.attention.wo.weight", _COLUMNS),
    "blk.{i}.ffn_norm.weight": ("layers.{i}.ffn_norm.weight", _WHOLE),
    "blk.{i}.ffn_gate.weight": ("layers.{i}.feed_forward.w1.weight", _ROWS),
    "blk.{i}.ffn_up.weight": ("layers.{i}.feed_forward.w3.weight", _ROWS),
    "blk.{i}.ffn_down.weight": ("layers.{i}.feed_forward.w2.weight", _COLUMNS),
}
"""GGUF name -> Meta's name, and what of the matrix a shard holds."""


class _Piece(NamedTuple):
    """A shard's part of a tensor."""

    file: TensorFile
    entry: StoredTensor

    @property
    def field(self) -> str:
        return f"tensor {shown(self.entry.name)}"

    @property
    def data(self) -> memoryview:
        return self.file.data(self.entry.name)


def open_meta(folder: Path, stack: ExitStack) -> Checkpoint:
    """The checkpoint in a directory, checked.

    Args: stack: closes its files.
    Raises: ConfigError, FormatError, UnsupportedError: one line each, before any output.
    """
    params = read_params(folder / PARAMS)
    shards = _open_shards(folder, stack)
    vocab_size = _n_rows(shards, "output.weight")
    hidden_dim = _n_rows(shards, "layers.0.feed_forward.w1.weight")
    config = config_of(params, vocab_size, hidden_dim)
    llama = architecture("llama")
    expected = {
        _meta_name(tensor): tensor
        for tensor in expected_tensors(llama, config)
        if tensor.spec.gguf in _TENSORS
    }
    for shard in shards:
        _check_names(shard, set(expected))
    tensors = tuple(
        _tensor(tensor, [_Piece(shard, shard.tensors[name]) for shard in shards])
        for name, tensor in expected.items()
    )
    vocabulary = _read_vocabulary(folder, vocab_size)
    return Checkpoint(
        name=model_name(folder.resolve().name),
        files=(folder / PARAMS, *vocabulary.files, *(shard.path for shard in shards)),
        architecture=llama,
        config=config,
        vocabulary=vocabulary.gguf_keys(),
        tensors=tensors,
    )


def _open_shards(folder: Path, stack: ExitStack) -> list[TorchFile]:
    """The shards in order; their numbers count from 00 without a gap."""
    paths = sorted(path for path in folder.iterdir() if _SHARD.fullmatch(path.name))
    for number, path in enumerate(paths or [folder]):
        wanted = f"consolidated.{number:02d}.pth"
        if path.name != wanted:
            raise FormatError(f"{folder / wanted}: this part of the checkpoint is missing")
    shards = []
    for path in paths:
        shards.append(TorchFile(path))
        stack.callback(shards[-1].close)
    return shards


def _n_rows(shards: list[TorchFile], name: str) -> int:
    """Rows of a matrix that the shards share out, before anything is known of its shape."""
    total = 0
    for shard in shards:
        if name not in shard.tensors:
            raise _missing(shard, name)
        shape = shard.tensors[name].shape
        if len(shape) != 2:
            raise FormatError.at(
                shard.path, f"tensor {name}", expected="a matrix", found=f"shape {list(shape)}"
            )
        total += shape[0]
    return total


def _meta_name(tensor: ExpectedTensor) -> str:
    name = _TENSORS[tensor.spec.gguf][0]
    return name.replace("{i}", tensor.gguf.split(".")[1]) if "{i}" in name else name


def _missing(shard: TensorFile, name: str) -> FormatError:
    return FormatError(
        f"{shard.path}: it holds no tensor {name}{did_you_mean(name, shard.tensors)}; check "
        f"n_layers in {PARAMS} and that the file is whole"
    )


def _check_names(shard: TensorFile, known: set[str]) -> None:
    """Raises FormatError for tensors that are missing, and for those that nothing would read."""
    for name in known:
        if name not in shard.tensors:
            raise _missing(shard, name)
    for name in shard.tensors:
        if name in known or _IGNORED.fullmatch(name):
            continue
        layer = _LAYER.match(name)
        hint = (
            f"{PARAMS} promises fewer layers than layer {layer[1]}"
            if layer and _LAYER.sub("layers.0.", name) in known
            else f"this architecture has no such tensor{did_you_mean(name, known)}"
        )
        raise FormatError(f"{shard.path}: unexpected tensor {shown(name)}: {hint}")


def _tensor(expected: ExpectedTensor, pieces: list[_Piece]) -> LazyTensor:
    first = pieces[0]
    source = f"{first.file.path}: {first.field}"
    type_ = weight_type(first.entry.dtype, source)
    split = _TENSORS[expected.spec.gguf][1]
    if expected.gguf == "token_embd.weight" and first.entry.shape[1:] == expected.shape[1:]:
        split = _ROWS
    _check_pieces(expected, pieces, split)
    tensor = LazyTensor(
        name=expected.gguf,
        shape=expected.shape,
        type=type_,
        data=first.data,
        source=source,
    )
    if split == _WHOLE or len(pieces) == 1:
        return tensor
    rows = [
        np.frombuffer(piece.data, np.uint8).reshape(
            piece.entry.shape[0], type_.row_bytes(piece.entry.shape[1])
        )
        for piece in pieces
    ]
    return replace(tensor, data=JoinedRows(rows, side_by_side=split == _COLUMNS))


def _check_pieces(expected: ExpectedTensor, pieces: list[_Piece], split: str) -> None:
    """Raises FormatError unless the pieces are of one kind and make up the expected tensor."""
    first = pieces[0]
    axis = {_ROWS: 0, _COLUMNS: 1}.get(split)
    found = list(first.entry.shape)
    for piece in pieces[1:]:
        shape = list(piece.entry.shape)
        if axis is not None and len(shape) == len(found) == 2:
            found[axis] += shape[axis]
            shape[axis] = found[axis]
        if shape != found or piece.entry.dtype != first.entry.dtype:
            raise FormatError.at(
                piece.file.path,
                piece.field,
                expected=f"dtype and shape to go with {first.entry.dtype} of shape "
                f"{list(first.entry.shape)} in {first.file.path.name}",
                found=f"{piece.entry.dtype} of shape {list(piece.entry.shape)}",
            )
        if axis is None and not _is_copy(piece, first):
            raise FormatError.at(
                piece.file.path,
                piece.field,
                expected=f"the numbers that are in {first.file.path.name}",
                found="others; the files belong to different models",
            )
    if tuple(found) != expected.shape:
        symbols = " × ".join(expected.spec.shape)
        raise FormatError.at(
            first.file.path,
            first.field,
            expected=f"shape {list(expected.shape)}, as {PARAMS} has {symbols}",
            found=f"{found} in {len(pieces)} files; one may be missing",
        )


def _is_copy(piece: _Piece, first: _Piece) -> bool:
    """Whether two shards hold one vector, which drifted a little in the training of LLaMA 3."""
    if piece.data == first.data:
        return True
    type_ = weight_type(first.entry.dtype, first.field)
    one, other = (
        dequantize(np.frombuffer(p.data, np.uint8), type_.name, p.entry.shape)
        for p in (piece, first)
    )
    return bool((np.abs(one - other) <= _DRIFT).all())


def _read_vocabulary(folder: Path, n_rows: int) -> VocabularyDraft:
    """The vocabulary beside the weights, or in the folder above, which models share."""
    paths = (folder / "tokenizer.model", folder.resolve().parent / "tokenizer.model")
    for path in paths:
        if path.exists():
            draft = draft_sentencepiece(path)
            draft.add_bos = "bos" in draft.special_ids
            draft.pad(n_rows)
            draft.files = [path]
            return draft
    raise ConfigError(
        f"{folder}: the checkpoint has no tokenizer.model, neither here nor in the folder above; "
        "fetch it from where the weights came from"
    )
