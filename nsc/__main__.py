"""python -m nsc: the command `nsc`."""

import sys

from nsc.cli import main

if __name__ == "__main__":
    sys.exit(main())
