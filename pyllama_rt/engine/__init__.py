"""Loads models and generates text."""
