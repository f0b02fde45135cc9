"""One file per architecture; registry.py finds them by name."""
