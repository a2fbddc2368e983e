"""Colours and materials, as linear light."""

from __future__ import annotations

import numpy as np

_SRGB = {
    "grey": (70, 70, 74),
    "red": (190, 30, 35),
    "blue": (35, 70, 205),
    "green": (25, 135, 30),
    "brown": (125, 72, 25),
    "purple": (130, 40, 175),
    "cyan": (40, 190, 205),
    "yellow": (245, 215, 40),
}
COLOURS = tuple(_SRGB)
"""Names, in the order of their numbers: CLEVR's eight."""
GAMMA = 2.2
ALBEDO = ((np.array(list(_SRGB.values())) / 255) ** GAMMA).astype(np.float32)
"""[8, 3] in 0 to 1."""
PLANE_ALBEDO = np.array([0.62, 0.61, 0.59], dtype=np.float32)
