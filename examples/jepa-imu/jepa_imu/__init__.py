"""Signals of movement sensors for anyjepa: the modality `imu` and the source `watch_imu`.

Letters besides those of `jepa.core`: n values of a series along time, T of an input, C channels,
F frequencies.
"""
