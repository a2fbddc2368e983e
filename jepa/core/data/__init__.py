"""Sources of samples, the order of samples, loading."""
