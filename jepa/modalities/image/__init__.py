"""Images: decoding, cropping, normalisation, and the defaults of I-JEPA."""

from jepa.modalities.image.modality import ImageModality

__all__ = ["ImageModality"]
