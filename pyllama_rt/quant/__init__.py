"""Quantise and dequantise arrays, and choose the type of each tensor of a file."""
