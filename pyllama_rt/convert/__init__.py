"""Checkpoints and GGUF files in, GGUF files out."""
