"""The entry: flags to configuration to training mode."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from config import QUICKSTART, Config, parse_flags
from errors import UserError

# TensorFlow's start-up notes help nobody here; its own errors still show.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line asks for; returns the exit status."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr, force=True)
    try:
        config, named = parse_flags(arguments)
        if not arguments:
            logging.info("no flags: running %s on %s", QUICKSTART.name, config.data_dir)
        return _dispatch(config, named)
    except UserError as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("main.py: stopped; the same command continues from the last checkpoint", file=sys.stderr)
        return INTERRUPTED


def _dispatch(config: Config, named: dict[str, Any]) -> int:
    import modes  # TensorFlow takes seconds to import: mistakes in flags come first

    modes.prepare_machine(config.threads)
    if config.training_mode == 0:
        modes.evaluate_saved(config, named)
    else:
        modes.train(config, named)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
