"""Which frames of a film make a clip."""

from __future__ import annotations

from typing import Literal

import attrs
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Short = Literal["hold", "loop"]

_MIDDLE = 0.5


@attrs.frozen
class Rhythm:
    """When a clip shows its frames.

    Args:
        frames: of the clip, T.
        step: from one to the next, in the unit of the film's times.
        short: what is done with films that are shorter than the clip.
    """

    frames: int
    step: float
    short: Short


def pick(times: Floats, rhythm: Rhythm, place: float | None) -> list[int]:
    """Places of T frames of a film of n frames: each in 0 to n - 1, some perhaps more than once.

    The clip begins with the frame shown at an instant that is uniform over all from which the clip
    fits; its other frames are those nearest to a step later, and so on. So a film whose frames come
    unevenly gives an even clip. The last frame is shown as long as the average one.

    A film that is shorter than the clip is shown from its beginning. With `hold` its last frame
    then stands; with `loop` it begins again, and training begins anywhere in it.

    Args:
        times: when each frame is shown, ascending: [n].
        rhythm: of the clip.
        place: in [0, 1): where among all places the clip begins; None: in the middle.
    """
    times = times - times[0]
    n = len(times)
    usual = times[-1] / (n - 1) if n > 1 else rhythm.step
    length = times[-1] + usual
    steps: Floats = np.arange(rhythm.frames, dtype=np.float64) * rhythm.step
    slack = length - steps[-1]
    if slack < usual / 2 and rhythm.short == "loop":
        round_again = np.append(times, length)  # the first frame, once more
        found = _nearest(round_again, ((place or 0.0) * length + steps) % length)
        return [each % n for each in found]
    if slack < usual / 2:
        return _nearest(times, steps)
    begin = slack * (_MIDDLE if place is None else place)
    first = int(np.searchsorted(times, begin, side="right")) - 1
    return _nearest(times, times[first] + steps)


def _nearest(times: Floats, instants: Floats) -> list[int]:
    """The place of the time nearest to each instant; of two, the later."""
    borders = (times[1:] + times[:-1]) / 2
    places: list[int] = np.searchsorted(borders, instants, side="right").tolist()
    return places
