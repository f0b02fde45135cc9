"""How good a model is on a text, and what its weights matter there."""
