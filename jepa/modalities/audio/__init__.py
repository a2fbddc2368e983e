"""Sound: decoding, cutting, log-mel spectrograms or waveforms, and defaults to start from."""

from jepa.modalities.audio.modality import AudioModality

__all__ = ["AudioModality"]
