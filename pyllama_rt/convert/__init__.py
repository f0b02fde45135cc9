"""Checkpoints of other formats to GGUF, GGUF files to other types, adapters into their bases."""

from pyllama_rt.convert.convert_adapter import ConvertedAdapter, convert_adapter
from pyllama_rt.convert.convert_checkpoint import convert_checkpoint
from pyllama_rt.convert.edit_file import edit_file
from pyllama_rt.convert.merge_adapters import MergedModel, merge_adapters
from pyllama_rt.convert.quantize_file import plan_file, quantize_file
from pyllama_rt.convert.split_file import merge_file, split_file
from pyllama_rt.convert.write import Progress

__all__ = [
    "ConvertedAdapter",
    "MergedModel",
    "Progress",
    "convert_adapter",
    "convert_checkpoint",
    "edit_file",
    "merge_adapters",
    "merge_file",
    "plan_file",
    "quantize_file",
    "split_file",
]
