"""`edit_file`: a GGUF file with other metadata."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pyllama_rt.convert.copy_tensors import copy_tensors, counter
from pyllama_rt.convert.huggingface import expected_tensors
from pyllama_rt.convert.metadata_edits import Edits
from pyllama_rt.convert.write import Progress, check_output
from pyllama_rt.errors import ConfigError, FormatError, PyllamaRtError
from pyllama_rt.formats.gguf import GgufFile, GgufWriter
from pyllama_rt.formats.gguf_draft import GgufDraft
from pyllama_rt.metadata import MetadataReader
from pyllama_rt.models.registry import architecture
from pyllama_rt.tokenizer.registry import load_tokenizer


def edit_file(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    assignments: Sequence[str] = (),
    removals: Sequence[str] = (),
    progress: Progress | None = None,
) -> Edits:
    """Writes a GGUF file again with some metadata changed, whole or not at all.

    Args:
        source: The file, or any file of a split model; the result is one file.
        assignments: KEY=VALUE, which keeps the type of the key, or KEY:TYPE=VALUE.
        removals: Keys to leave out.
    Returns:
        What was changed.
    Raises:
        ConfigError for changes that cannot be made, and for those after which a model that could
        be loaded cannot be any more; PyllamaRtError of the class that fits otherwise.
    """
    target = Path(out)
    with GgufFile.open(source) as file:
        check_output(target, file.paths)
        edits = Edits.parse(assignments, removals, file.metadata)
        keys = edits.apply(file.metadata)
        draft = GgufDraft.of(file.path, keys)
        _check_usable(file, draft)
        with GgufWriter(target, alignment=file.alignment) as writer:
            for key in draft.metadata:
                writer.copy(draft.metadata, key)
            count = counter(progress, sum(info.n_bytes for info in file.tensors.values()))
            copy_tensors(writer, file, file.tensors.values(), count)
    return edits


def _check_usable(file: GgufFile, draft: GgufDraft) -> None:
    """Raises ConfigError if the old file can be loaded and the new one cannot.

    Of a file that is refused already nobody can say whether the change is a repair.
    """
    if _fault(file, file) is not None:
        return
    fault = _fault(draft, file)
    if fault is not None:
        raise ConfigError(f"the change would make a file that cannot be loaded: {fault}")


def _fault(reader: MetadataReader, file: GgufFile) -> PyllamaRtError | None:
    """Why a model with this metadata and the tensors of `file` cannot be loaded."""
    try:
        arch = architecture(reader.get_str("general.architecture"), file.path)
        config = arch.from_gguf(reader)
        for tensor in expected_tensors(arch, config):
            found = file.tensors.get(tensor.gguf)
            if found is None and tensor.spec.optional:
                continue
            if found is None or found.shape != tensor.shape:
                shape = "none" if found is None else f"shape {list(found.shape)}"
                raise FormatError.at(
                    file.path,
                    f"tensor {tensor.gguf}",
                    expected=f"shape {list(tensor.shape)}",
                    found=shape,
                )
        beyond = next((n for n in file.tensors if n.startswith(f"blk.{config.n_layers}.")), None)
        if beyond is not None:
            raise FormatError(f"{file.path}: tensor {beyond} belongs to a layer too many")
        load_tokenizer(reader, file.path)
    except PyllamaRtError as error:
        return error
    return None
