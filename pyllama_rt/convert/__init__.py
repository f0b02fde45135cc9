"""Checkpoints of other formats to GGUF, and GGUF files to other types."""

from pyllama_rt.convert.convert_checkpoint import convert_checkpoint
from pyllama_rt.convert.quantize_file import plan_file, quantize_file
from pyllama_rt.convert.write import Progress

__all__ = ["Progress", "convert_checkpoint", "plan_file", "quantize_file"]
