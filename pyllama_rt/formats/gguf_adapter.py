"""LoRA adapters in GGUF files, as llama.cpp reads them: pairs of matrices by tensor of the base.

Source: what llama.cpp (in llama-cpp-python 0.3.36) accepts; `tests/convert/test_peer.py` asks it.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyllama_rt.closing import Closing
from pyllama_rt.errors import FormatError, UnsupportedError, did_you_mean, shown
from pyllama_rt.formats.gguf_reader import GgufFile
from pyllama_rt.formats.gguf_types import TensorInfo
from pyllama_rt.formats.tensor_types import WEIGHT_TYPES

TYPE_KEY, ADAPTER = "general.type", "adapter"
IMATRIX = "imatrix"
"""`general.type` of importance matrices, which quant/importance_gguf.py reads."""

KIND_KEY, LORA = "adapter.type", "lora"
ALPHA_KEY = "adapter.lora.alpha"
NORMS_KEY = "adapter.lora.base_norms_sha256"
"""Ours, other programs ignore it: `norms_digest` of the base that the adapter was made for."""

EMBEDDING = "token_embd.weight"
"""Its pair lies the other way round: rows of `lora_a` are looked up and go through `lora_b`."""

_INVOKED = "adapter.alora."

A_SUFFIX, B_SUFFIX = ".lora_a", ".lora_b"

_OTHER_USES = {
    ADAPTER: "add it to its base with pyllama-rt merge-lora",
    IMATRIX: "it is for pyllama-rt quantize --imatrix",
}


@dataclass(frozen=True, slots=True)
class AdapterPair:
    """What an adapter does to one tensor: `W + scale · left @ right`.

    name: of the tensor in the base. left: (…, rows, rank). right: (…, rank, columns), or where
    `right_transposed`, (columns, rank). Leading axes are experts.
    """

    name: str
    left: TensorInfo
    right: TensorInfo
    right_transposed: bool
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor that it fits."""
        columns = self.right.shape[-2] if self.right_transposed else self.right.shape[-1]
        return (*self.left.shape[:-1], columns)


class GgufAdapter(Closing):
    """An adapter file, checked; use `GgufAdapter.open`, preferably in a `with` statement.

    architecture: of the base. base_norms: `norms_digest` of the base, None where the file has none.
    pairs: by name of the tensor that they change, in the order of the file.
    """

    def __init__(self, file: GgufFile) -> None:
        """Check a file that is open. Raises: as `open`."""
        self.file = file
        self.path = file.path
        kind = file.get_str(TYPE_KEY, "model")
        if kind != ADAPTER:
            raise FormatError.at(
                file.path, TYPE_KEY, expected=f"{ADAPTER!r}, as LoRA files say", found=shown(kind)
            )
        method = file.get_str(KIND_KEY)
        if method != LORA:
            raise UnsupportedError(
                f"{file.path}: {KIND_KEY}: adapters of type {shown(method)} are not supported; "
                f"known: {LORA}"
            )
        if any(key.startswith(_INVOKED) for key in file.metadata):
            raise UnsupportedError(
                f"{file.path}: adapters that begin to work at certain tokens (aLoRA) are not "
                "supported"
            )
        self.architecture = file.get_str("general.architecture")
        self.base_norms = file.get_str(NORMS_KEY, None)
        alpha = file.get_float(ALPHA_KEY, 0.0)
        if not math.isfinite(alpha):
            raise FormatError.at(file.path, ALPHA_KEY, expected="a finite number", found=alpha)
        self.pairs = _pairs(file, alpha)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> GgufAdapter:
        """Open an adapter.

        Raises: ConfigError if it cannot be opened; FormatError if it breaks the format, a pair is
            incomplete or its ranks differ; UnsupportedError for other kinds of adapters.
        """
        file = GgufFile.open(path)
        try:
            return cls(file)
        except (FormatError, UnsupportedError):
            file.close()
            raise

    def data(self, info: TensorInfo) -> memoryview:
        """The bytes of half a pair, read-only, in the mapping."""
        return self.file.tensor_data(info.name)

    def check_base(
        self,
        base: object,
        architecture: str,
        shapes: Mapping[str, tuple[int, ...]],
        norms: str | None = None,
    ) -> None:
        """Whether the adapter fits a base.

        Args:
            base: Its path, for messages. architecture: Its `general.architecture`.
            shapes: Of its tensors by name. norms: Its `norms_digest`, None: not compared.
        Raises: FormatError naming what differs.
        """
        if self.architecture != architecture:
            raise FormatError.at(
                self.path,
                "general.architecture",
                expected=f"{architecture!r}, as {base} has",
                found=f"{shown(self.architecture)}; the adapter belongs to another model",
            )
        for name, pair in self.pairs.items():
            if name not in shapes:
                raise FormatError(
                    f"{self.path}: {base} has no tensor {shown(name)}"
                    f"{did_you_mean(name, shapes)}; the adapter belongs to another model"
                )
            if pair.shape != shapes[name]:
                raise FormatError.at(
                    self.path,
                    f"pair of {shown(name)}",
                    expected=f"matrices for shape {list(shapes[name])}, as {base} has",
                    found=f"some for {list(pair.shape)}; the adapter belongs to another model",
                )
        if None not in (self.base_norms, norms) and self.base_norms != norms:
            raise FormatError.at(
                self.path,
                NORMS_KEY,
                expected=f"{norms}, of the norms in {base}",
                found=f"{shown(self.base_norms, 66)}; the adapter was made for another model of "
                "the same shape: convert it again with --base if it is meant for this one",
            )

    def close(self) -> None:
        """Unmap the file."""
        self.file.close()


def check_is_model(file: GgufFile) -> None:
    """Raises FormatError for an adapter or an importance matrix where a model is needed."""
    kind = file.get_str(TYPE_KEY, None)
    use = _OTHER_USES.get(kind or "")
    if use is not None:
        raise FormatError.at(file.path, TYPE_KEY, expected="a model", found=f"{kind!r}; {use}")


def norms_digest(norms: Iterable[tuple[str, bytes | memoryview]]) -> str:
    """A fingerprint of a model that quantising does not change: norms stay floats.

    Args: norms: GGUF name and f32 bytes of every vector whose name ends in `norm.weight`.
    """
    digest = hashlib.sha256()
    for name, data in sorted(norms, key=lambda norm: norm[0]):
        digest.update(name.encode() + b"\0")
        digest.update(data)
    return digest.hexdigest()


def is_norm(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor counts for `norms_digest`."""
    return len(shape) == 1 and name.endswith("norm.weight")


def _pairs(file: GgufFile, alpha: float) -> dict[str, AdapterPair]:
    halves: dict[str, dict[str, TensorInfo]] = {}
    for info in file.tensors.values():
        suffix = info.name[-len(A_SUFFIX) :]
        if suffix not in (A_SUFFIX, B_SUFFIX):
            raise FormatError(
                f"{file.path}: unexpected tensor {shown(info.name)}: expected names that end in "
                f"{A_SUFFIX} or {B_SUFFIX}"
            )
        halves.setdefault(info.name[: -len(suffix)], {})[suffix] = info
    if not halves:
        raise FormatError(f"{file.path}: expected pairs of matrices, found no tensor")
    return {name: _pair(file, name, found, alpha) for name, found in halves.items()}


def _pair(file: GgufFile, name: str, found: dict[str, TensorInfo], alpha: float) -> AdapterPair:
    for suffix in (A_SUFFIX, B_SUFFIX):
        if suffix not in found:
            raise FormatError(
                f"{file.path}: expected tensors {shown(name + A_SUFFIX)} and "
                f"{shown(name + B_SUFFIX)}, found only one: {shown(name + suffix)} is missing"
            )
    a, b = found[A_SUFFIX], found[B_SUFFIX]
    for info in (a, b):
        if info.type.name not in WEIGHT_TYPES or not 2 <= len(info.shape) <= 3:
            raise FormatError.at(
                file.path,
                f"tensor {shown(info.name)}",
                expected="a matrix of weights",
                found=f"{info.type.name} of shape {list(info.shape)}",
            )
    is_embedding = name == EMBEDDING
    rank, other = b.shape[-1], a.shape[-1] if is_embedding else a.shape[-2]
    if rank != other or a.shape[:-2] != b.shape[:-2]:
        raise FormatError.at(
            file.path,
            f"pair of {shown(name)}",
            expected="lora_a and lora_b of one rank",
            found=f"shapes {list(a.shape)} and {list(b.shape)}",
        )
    # llama.cpp takes alpha 0 for: as trained, without a factor.
    scale = alpha / rank if alpha else 1.0
    left, right = (a, b) if is_embedding else (b, a)
    return AdapterPair(name, left, right, is_embedding, scale)
