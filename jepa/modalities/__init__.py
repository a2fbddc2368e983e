"""Modalities: each folder knows one kind of sample."""
