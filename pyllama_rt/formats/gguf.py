"""GGUF files: everything that other packages use, under one name."""

from pyllama_rt.formats.gguf_metadata import Metadata
from pyllama_rt.formats.gguf_reader import GgufFile
from pyllama_rt.formats.gguf_types import TensorInfo, Value, ValueType
from pyllama_rt.formats.gguf_writer import GgufWriter

__all__ = ["GgufFile", "GgufWriter", "Metadata", "TensorInfo", "Value", "ValueType"]
