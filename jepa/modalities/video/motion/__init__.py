"""Clips of a camera that moves over photographs, labelled by how it moves."""

from jepa.modalities.video.motion.source import Motion

__all__ = ["Motion"]
