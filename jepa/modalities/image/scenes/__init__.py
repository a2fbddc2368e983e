"""CLEVR-like scenes, rendered by a seed."""

from jepa.modalities.image.scenes.source import Scenes

__all__ = ["Scenes"]
