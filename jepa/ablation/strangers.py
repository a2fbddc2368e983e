"""The border to parts of other packages: what they raise becomes an error of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from jepa.core.errors import JepaError


class StrangerError(JepaError):
    """Something that is no error of ours, raised inside a part that was asked for something."""


@contextlib.contextmanager
def strangers() -> Iterator[None]:
    """Around calls into parts, where a sweep looks at what its runs will meet.

    A part may raise anything. Its own run then fails as a row of the table; the sweep and all
    other runs go on.

    Raises:
        StrangerError: for whatever is not ours, with its type: `ZeroDivisionError: ...`.
        JepaError: as it was raised.
    """
    try:
        yield
    except JepaError:
        raise
    except (Exception, SystemExit) as error:
        raise StrangerError(f"{type(error).__name__}: {error}") from error
