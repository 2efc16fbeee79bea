"""The entry: flags to configuration to training mode."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nsc import console
from options.config import PROGRAM, QUICKSTART, parse_flags
from options.notes import flags_without_effect
from runs.machine import import_tensorflow, prepare_machine


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line asks for; returns the exit status."""
    console.show_own_lines()
    return console.exit_status(
        PROGRAM, lambda: _run(arguments), "stopped; the same command continues a training from its last checkpoint"
    )


def _run(arguments: Sequence[str]) -> None:
    config, named = parse_flags(arguments)
    if not arguments:
        console.log.info("no flags: running %s on %s", QUICKSTART.name, config.data_dir)
    idle = flags_without_effect(arguments, config)
    if idle:
        console.log.info("without effect here: %s", "; ".join(idle))
    import_tensorflow()  # not before: mistakes in flags show at once
    prepare_machine(config.threads, deterministic=config.deterministic, tf32=config.tf32, xla=config.xla)
    if config.training_mode == 0:
        from evaluation.mode import evaluate_saved

        evaluate_saved(config, named)
    else:
        from training.modes import train

        train(config, named)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
