"""`python -m jepa`, which `torchrun -m jepa` calls."""

import sys

from jepa.cli import main

if __name__ == "__main__":
    sys.exit(main())
