"""Adapters in the folders that peft saves."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from pyllama_rt.convert.adapter import Adapter
from pyllama_rt.convert.lazy_tensor import LazyTensor, weight_type
from pyllama_rt.convert.low_rank import Factor, LowRank
from pyllama_rt.convert.peft_config import PeftConfig, read_peft_config
from pyllama_rt.errors import FormatError, UnsupportedError, did_you_mean, shown
from pyllama_rt.formats.safetensors import SafetensorsFile
from pyllama_rt.formats.tensor_file import TensorFile
from pyllama_rt.formats.torch_file import TorchFile

WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
_TOKENIZERS = ("tokenizer.model", "tokenizer.json")

_PREFIX = "base_model.model."
_MAX_NAME_CHARS = 128
_HALF = re.compile(
    r"(?P<module>.+)\.(?P<half>lora_A|lora_B|lora_embedding_A|lora_embedding_B)"
    r"(?:\.default)?(?:\.weight)?"
)
_WHOLE = re.compile(
    r"(?P<module>.+?)(?:\.modules_to_save)?(?:\.default)?(?:\.base_layer)?\.(?P<leaf>weight|bias)"
)
_IGNORED = re.compile(r".*(\.rotary_emb\.inv_freq|\.original_module\.(weight|bias))")
"""Tables, and of modules that were trained as a whole what they were before."""

_PARTNER = {
    "lora_A": "lora_B",
    "lora_B": "lora_A",
    "lora_embedding_A": "lora_embedding_B",
    "lora_embedding_B": "lora_embedding_A",
}


def open_peft_adapter(folder: Path, stack: ExitStack) -> Adapter:
    """The adapter in a folder, its pairs checked.

    Args: stack: closes its files.
    Raises: ConfigError, FormatError, UnsupportedError: one line each, naming file and tensor.
    """
    config = read_peft_config(folder)
    weights, tensors = _open_weights(folder, stack)
    halves: dict[str, dict[str, LazyTensor]] = {}
    whole: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix(_PREFIX)
        if len(plain) > _MAX_NAME_CHARS:
            raise FormatError(f"{tensor.source}: expected up to {_MAX_NAME_CHARS} characters")
        half, full = _HALF.fullmatch(plain), _WHOLE.fullmatch(plain)
        if _IGNORED.fullmatch(plain):
            continue
        if half:
            _put(halves.setdefault(half["module"], {}), half["half"], tensor)
        elif full and "lora_" not in plain:
            _put(whole, f"{full['module']}.{full['leaf']}", tensor)
        else:
            _refuse(tensor, plain)
    _check_saved(config, whole, folder)
    if not halves and not whole:
        raise FormatError(f"{folder}: expected pairs lora_A and lora_B, found no tensor")
    has_tokenizer = any((folder / name).exists() for name in _TOKENIZERS)
    return Adapter(
        path=folder,
        files=(weights, config.source, *(folder / name for name in _TOKENIZERS)),
        layout="hf",
        deltas={f"{name}.weight": _delta(name, pair, config) for name, pair in halves.items()},
        replacements=whole,
        tokenizer=folder if has_tokenizer else None,
    )


def _open_weights(folder: Path, stack: ExitStack) -> tuple[Path, dict[str, LazyTensor]]:
    """The file with the weights, and every tensor under its name there."""
    readers: dict[str, Callable[[Path], TensorFile]] = {WEIGHTS: SafetensorsFile, PICKLE: TorchFile}
    names = [name for name in readers if (folder / name).exists()]
    if not names:
        raise FormatError(f"{folder}: expected {WEIGHTS} or {PICKLE}, found no such file")
    file = readers[names[0]](folder / names[0])
    stack.callback(file.close)
    found = {}
    for name, entry in file.tensors.items():
        source = f"{file.path}: tensor {shown(name)}"
        type_ = weight_type(entry.dtype, source)
        found[name] = LazyTensor(name, entry.shape, type_, file.data(name), source)
    return file.path, found


def _put(found: dict[str, LazyTensor], key: str, tensor: LazyTensor) -> None:
    # An embedding with new rows is saved twice, as a trained module and as the base's.
    if key in found and found[key].data != tensor.data:
        raise FormatError(
            f"{tensor.source}: {found[key].source} means the same; expected one of them"
        )
    found[key] = tensor


def _refuse(tensor: LazyTensor, plain: str) -> None:
    if "lora_magnitude_vector" in plain:
        raise UnsupportedError(
            f"{tensor.source}: it belongs to DoRA, which rescales the weights too and is not "
            "supported; merge the adapter with peft's merge_and_unload"
        )
    part = plain.removesuffix(".weight").rpartition(".")[2]
    raise FormatError(
        f"{tensor.source}: expected names that end in lora_A.weight, lora_B.weight or .weight"
        f"{did_you_mean(part, _PARTNER)}"
    )


def _check_saved(config: PeftConfig, whole: dict[str, LazyTensor], folder: Path) -> None:
    for module in config.modules_to_save:
        if not any(f".{name}.".endswith(f".{module}.weight.") for name in whole):
            raise FormatError.at(
                config.source,
                "modules_to_save",
                expected=f"its modules in {folder}",
                found=f"no weight of {shown(module)} there",
            )


def _delta(module: str, pair: dict[str, LazyTensor], config: PeftConfig) -> LowRank:
    for half, partner in _PARTNER.items():
        if half in pair and partner not in pair:
            raise FormatError(
                f"{pair[half].source}: expected a pair, found no {partner} of {shown(module)}"
            )
    kind = "lora_embedding" if "lora_embedding_A" in pair else "lora"
    if len(pair) != 2:
        raise FormatError(f"{pair['lora_A'].source}: {shown(module)} has a lora_embedding_A too")
    a, b = pair[f"{kind}_A"], pair[f"{kind}_B"]
    rank = config.rank(module)
    for tensor, axis in ((a, 0), (b, 1)):
        if len(tensor.shape) != 2 or tensor.shape[axis] != rank or 0 in tensor.shape:
            form = f"[{rank}, …]" if axis == 0 else f"[…, {rank}]"
            raise FormatError(
                f"{tensor.source}: expected shape {form}, as {config.source.name} has rank {rank}, "
                f"found {list(tensor.shape)}"
            )
    left, right = Factor(b), Factor(a)
    if config.transposed or kind == "lora_embedding":
        left, right = right.swapped(), left.swapped()
    return LowRank(left, right, config.scale(module), source=a.source)
