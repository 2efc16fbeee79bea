"""The entry: flags to configuration to training mode."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from configs.config import PROGRAM, QUICKSTART, Config, parse_flags
from nsc import console

STOPPED = "stopped; the same command continues a training from its last checkpoint"


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line asks for; returns the exit status."""
    console.show_own_lines()
    return console.exit_status(PROGRAM, lambda: _run(arguments), STOPPED)


def _run(arguments: Sequence[str]) -> None:
    config, named = parse_flags(arguments)
    if not arguments:
        console.log.info("no flags: running %s on %s", QUICKSTART.name, config.data_dir)
    _dispatch(config, named)


def _dispatch(config: Config, named: dict[str, Any]) -> None:
    console.import_tensorflow()  # not before: mistakes in flags show at once
    from training import modes

    modes.prepare_machine(config.threads, deterministic=config.deterministic)
    if config.training_mode == 0:
        modes.evaluate_saved(config, named)
    else:
        modes.train(config, named)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
