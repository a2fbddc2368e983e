"""anyjepa: train joint-embedding predictive architectures on any modality."""

__version__ = "0.1.0.dev0"
