"""Quantise and dequantise arrays, and choose the type of each tensor of a file."""

from pyllama_rt.quant.codec import dequantize, quantize

__all__ = ["dequantize", "quantize"]
