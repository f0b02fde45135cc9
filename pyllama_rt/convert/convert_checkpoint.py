"""`convert_checkpoint`: a model in another format, written as GGUF."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from pyllama_rt.convert.checkpoint import Checkpoint
from pyllama_rt.convert.huggingface import open_huggingface
from pyllama_rt.convert.llama2c import open_llama2c
from pyllama_rt.convert.meta import PARAMS, open_meta
from pyllama_rt.convert.write import Progress, add_type_keys, check_output, write_tensors
from pyllama_rt.errors import ConfigError
from pyllama_rt.formats.gguf import GgufWriter
from pyllama_rt.formats.tensor_types import TENSOR_TYPES
from pyllama_rt.formats.torch_file import is_torch_file
from pyllama_rt.quant.mixes import ModelTraits, find_mix
from pyllama_rt.quant.plan import Plan, make_plan
from pyllama_rt.small_file import open_regular


def convert_checkpoint(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    outtype: str | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Writes a checkpoint as a GGUF file, whole or not at all.

    Args:
        source: A Hugging Face or Meta directory, or a llama2.c file.
        out: The file to write; an older one is replaced.
        outtype: A type or mix that `quantize` takes, for the weights; norms and biases are f32.
            None: f16 or bf16, whichever the checkpoint is in.
        tokenizer: Vocabulary of a llama2.c checkpoint; by default the one beside it.
        n_threads: Threads that quantise; None for all cores.
    Returns:
        What was written.
    Raises:
        PyllamaRtError of the class that fits: one line with file, expectation and finding.
    """
    path, target = Path(source), Path(out)
    mix = None if outtype is None else find_mix(outtype)
    with ExitStack() as stack:
        checkpoint = _open(path, None if tokenizer is None else Path(tokenizer), stack)
        check_output(target, checkpoint.files)
        keys = checkpoint.keys()
        traits = ModelTraits.of(keys, (tensor.name for tensor in checkpoint.tensors))
        plan = make_plan(
            mix or find_mix(checkpoint.own_type),
            traits,
            checkpoint.tensors,
            small_type=TENSOR_TYPES["f32"],
        )
        with GgufWriter(target) as writer:
            for key, value in keys.items():
                writer.add(key, value)
            add_type_keys(writer, plan.mix)
            write_tensors(writer, plan, checkpoint.tensors, n_threads=n_threads, progress=progress)
    return plan


def _open(path: Path, tokenizer: Path | None, stack: ExitStack) -> Checkpoint:
    """The reader for what `path` is."""
    if path.is_dir():
        if tokenizer is not None:
            raise ConfigError(
                f"{tokenizer}: --tokenizer is for llama2.c files; a directory brings its own"
            )
        is_meta = (path / PARAMS).exists() and not (path / "config.json").exists()
        return open_meta(path, stack) if is_meta else open_huggingface(path, stack)
    if not path.exists():
        raise ConfigError(f"{path}: no such file or directory; name a checkpoint to convert")
    if path.suffix == ".bin" and not _starts_as_torch(path):
        return open_llama2c(path, stack, tokenizer)
    hints = {
        ".gguf": "it is GGUF already; change its type with pyllama-rt quantize",
        ".safetensors": f"name the directory that holds it with {_HUGGINGFACE}",
        ".bin": f"it is a PyTorch file; name the directory that holds it with {_HUGGINGFACE}",
        ".pth": f"name the directory that holds it with {PARAMS}, for weights from Meta, or with "
        f"{_HUGGINGFACE}",
        ".pt": f"rename it to pytorch_model.bin and name the directory that holds it with "
        f"{_HUGGINGFACE}",
    }
    hint = hints.get(path.suffix, "name a Hugging Face or Meta directory or a llama2.c .bin file")
    raise ConfigError(f"{path}: not a checkpoint that can be converted: {hint}")


_HUGGINGFACE = "config.json and tokenizer.model"


def _starts_as_torch(path: Path) -> bool:
    """Whether it is a pytorch_model.bin, which a llama2.c file may be named like."""
    with open(open_regular(path), "rb") as file:
        return is_torch_file(file.read(4))
