"""Sources of samples, the order of samples, loading."""

from jepa.core.data.opening import open_source

__all__ = ["open_source"]
