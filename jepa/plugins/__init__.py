"""Modality-blind parts, each a plugin."""
