"""Films: decoding, picking frames, cropping, and defaults to start from."""

from jepa.modalities.video.modality import VideoModality

__all__ = ["VideoModality"]
