"""Scores, divergence and importance: how well a model predicts a text."""
