"""`merge_adapters`: a base with LoRA adapters added to its weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyllama_rt.convert.adapter import Adapter
from pyllama_rt.convert.apply_adapters import AppliedAdapters, apply_adapters
from pyllama_rt.convert.huggingface_folder import plan_folder, write_folder
from pyllama_rt.convert.huggingface_vocabulary import read_vocabulary
from pyllama_rt.convert.json_metadata import JsonMetadata
from pyllama_rt.convert.lora_base import open_gguf_base, open_huggingface_base
from pyllama_rt.convert.open_adapters import open_adapters
from pyllama_rt.convert.write import (
    FILE_TYPE,
    QUANTIZATION_VERSION,
    Progress,
    add_type_keys,
    check_output,
    write_tensors,
)
from pyllama_rt.errors import ConfigError, UnsupportedError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter
from pyllama_rt.formats.tensor_types import TENSOR_TYPES
from pyllama_rt.quant.mixes import MIXES, Mix, ModelTraits, find_mix
from pyllama_rt.quant.plan import Plan, PlannedTensor, make_plan

_NOT_COPIED = (FILE_TYPE, QUANTIZATION_VERSION)
_VOCABULARY, _SPLIT = "tokenizer.", "split."
_ROLES = ("bos", "eos", "eot", "eom")


@dataclass(frozen=True)
class MergedModel:
    """What was written. plan: its tensors. applied: what the adapters changed."""

    plan: Plan
    applied: AppliedAdapters


def merge_adapters(
    base: str | os.PathLike[str],
    adapters: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    outtype: str | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> MergedModel:
    """Writes a base with adapters added in order, whole or not at all.

    A product of an adapter is added in f32, `W + scale · B · A`; embeddings and heads that it
    brings as a whole replace the base's, and the vocabulary grows with them. The tokenizer is that
    of the last adapter that brings one. One tensor at a time is in memory, some rows of it.

    Args:
        base: A Hugging Face directory or a GGUF file.
        adapters: Folders that peft saved, or GGUF adapter files.
        out: A file that ends in .gguf, or for a Hugging Face base also a folder, new or empty.
        outtype: The type of the weights, for GGUF any that `quantize` takes. None: for a folder and
            for a GGUF base as they are stored, else f16 or bf16, whichever the base is in.
        n_threads: Threads that quantise; None for all cores.
    Raises:
        PyllamaRtError of the class that fits: one line with file, expectation and finding.
    """
    source, target = Path(base), Path(out)
    if not source.exists():
        raise ConfigError(f"{source}: no such file or folder; name the model to add adapters to")
    with ExitStack() as stack:
        opened = open_adapters([Path(path) for path in adapters], stack)
        job = _Job(source, opened, target, outtype, n_threads, progress)
        if not source.is_dir():
            return _gguf_to_gguf(job, stack)
        if target.suffix.lower() == ".gguf":
            return _folder_to_gguf(job, stack)
        return _folder_to_folder(job, stack)


@dataclass(frozen=True)
class _Job:
    """The arguments of `merge_adapters`, the adapters open."""

    source: Path
    adapters: Sequence[Adapter]
    target: Path
    outtype: str | None
    n_threads: int | None
    progress: Progress | None

    @property
    def mix(self) -> Mix | None:
        """What was asked for."""
        return None if self.outtype is None else find_mix(self.outtype)

    def check_output(self, files: Sequence[Path]) -> None:
        """Raises ConfigError if the output would replace something that is read."""
        check_output(self.target, [*files, *(f for a in self.adapters for f in a.files)])


def _folder_to_folder(job: _Job, stack: ExitStack) -> MergedModel:
    base, checkpoint, reader = open_huggingface_base(job.source, stack)
    job.check_output([job.source, *(a.path for a in job.adapters)])
    applied = apply_adapters(base, job.adapters, "hf")
    plan = plan_folder(job.outtype, checkpoint.own_type, applied.tensors)
    with suppress(UnsupportedError):  # files of other kinds are copied unread
        _read_vocabulary(applied, _with_ends(reader, job.source))
    write_folder(
        job.target, job.source, applied, plan, reader.values,
        n_threads=job.n_threads, progress=job.progress,
    )  # fmt: skip
    return MergedModel(plan, applied)


def _folder_to_gguf(job: _Job, stack: ExitStack) -> MergedModel:
    mix = job.mix
    base, checkpoint, reader = open_huggingface_base(job.source, stack)
    job.check_output(base.files)
    applied = apply_adapters(base, job.adapters, "gguf")
    grown = base.architecture.from_hf(_changed(reader, vocab_size=applied.vocab_size))
    checkpoint = replace(checkpoint, config=grown)
    vocabulary = _read_vocabulary(applied, _with_ends(reader, job.source))
    if vocabulary is not None:
        checkpoint = replace(checkpoint, vocabulary=vocabulary)
    keys = checkpoint.keys()
    plan = make_plan(
        mix or find_mix(checkpoint.own_type),
        ModelTraits.of(keys, (tensor.name for tensor in applied.tensors)),
        applied.tensors,
        small_type=TENSOR_TYPES["f32"],
    )
    with GgufWriter(job.target) as writer:
        for key, value in keys.items():
            writer.add(key, value)
        _write(job, writer, plan, applied)
    return MergedModel(plan, applied)


def _gguf_to_gguf(job: _Job, stack: ExitStack) -> MergedModel:
    if job.target.suffix.lower() != ".gguf":
        raise ConfigError(
            f"{job.target}: a base in GGUF gives a GGUF file; expected a name that ends in .gguf"
        )
    mix = job.mix
    base, file = open_gguf_base(job.source, stack)
    job.check_output(base.files)
    applied = apply_adapters(base, job.adapters, "gguf")
    vocabulary = _read_vocabulary(applied, _ids_of(file))
    if mix is None:
        plan = _plan_as_stored(file, applied)
    else:
        traits = ModelTraits.of(file.metadata, file.tensors)
        plan = make_plan(mix, traits, applied.tensors)
    vocab_size = f"{base.architecture.name}.vocab_size"
    with GgufWriter(job.target, alignment=file.alignment) as writer:
        for key in file.metadata:
            is_replaced = vocabulary is not None and key.startswith(_VOCABULARY)
            if not (is_replaced or key in (*_NOT_COPIED, vocab_size) or key.startswith(_SPLIT)):
                writer.copy(file.metadata, key)
        writer.add(vocab_size, applied.vocab_size)
        for key, value in (vocabulary or {}).items():
            writer.add(key, value)
        _write(job, writer, plan, applied)
    return MergedModel(plan, applied)


def _write(job: _Job, writer: GgufWriter, plan: Plan, applied: AppliedAdapters) -> None:
    add_type_keys(writer, plan.mix)
    write_tensors(writer, plan, applied.tensors, n_threads=job.n_threads, progress=job.progress)


def _plan_as_stored(file: GgufFile, applied: AppliedAdapters) -> Plan:
    """Every tensor in the type that the base has it in."""
    number = file.get_int(FILE_TYPE, None)
    mix = next((mix for mix in MIXES.values() if mix.file_type == number), None)
    if mix is None:
        raise ConfigError(
            f"{file.path}: {FILE_TYPE}: expected the number of a known mix, found {number}; say "
            "with --outtype what to write"
        )
    return Plan(
        mix, tuple(PlannedTensor(t.name, t.shape, t.type, t.type, t.type) for t in applied.tensors)
    )


def _read_vocabulary(applied: AppliedAdapters, config: JsonMetadata) -> dict[str, Any] | None:
    """The `tokenizer.*` keys of the vocabulary that an adapter brings; None: the base's stays.

    Args: config: where the base names its special pieces.
    """
    if applied.tokenizer is None:
        return None
    # Training saves a copy of the base's own in whatever form is the newest.
    if applied.grown_from is None and not (applied.tokenizer / "tokenizer.model").exists():
        return None
    try:
        return read_vocabulary(applied.tokenizer, config, applied.vocab_size).gguf_keys()
    except UnsupportedError:
        if applied.grown_from is not None:
            raise
        return None


def _with_ends(config: JsonMetadata, folder: Path) -> JsonMetadata:
    """config.json with the ends that generation_config.json names, which go first."""
    ends = JsonMetadata.read_optional(folder / "generation_config.json").get("eos_token_id")
    return config if ends is None else _changed(config, eos_token_id=ends)


def _ids_of(file: GgufFile) -> JsonMetadata:
    """What config.json would say of the special pieces of a GGUF file."""
    bos, *ends = (file.get_int(f"tokenizer.ggml.{role}_token_id", None) for role in _ROLES)
    known = [token for token in ends if token is not None]
    return JsonMetadata({"bos_token_id": bos, "eos_token_id": known or None}, file.path)


def _changed(config: JsonMetadata, **values: Any) -> JsonMetadata:
    return JsonMetadata({**config.values, **values}, config.source)
