"""Target updaters."""
