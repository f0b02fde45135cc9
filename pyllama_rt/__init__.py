"""pyllama-rt: a portable, quantised LLM runtime."""

__version__ = "0.1.0"
