"""The commands of `jepa`: each module has `HELP`, `configure(parser)` and `run(args)`."""
