"""Checkpoints of other formats to GGUF, and GGUF files to other types."""

from pyllama_rt.convert.convert_checkpoint import convert_checkpoint
from pyllama_rt.convert.edit_file import edit_file
from pyllama_rt.convert.quantize_file import plan_file, quantize_file
from pyllama_rt.convert.split_file import merge_file, split_file
from pyllama_rt.convert.write import Progress

__all__ = [
    "Progress",
    "convert_checkpoint",
    "edit_file",
    "merge_file",
    "plan_file",
    "quantize_file",
    "split_file",
]
