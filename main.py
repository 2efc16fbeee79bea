"""The entry: flags to configuration to training mode."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from configs.config import PROGRAM, QUICKSTART, Config, parse_flags
from configs.notes import flags_without_effect
from nsc import console
from nsc.errors import UserError

USER_ERROR, INTERRUPTED = 2, 130  # exit statuses; 130 is what shells expect after Ctrl-C


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line asks for; returns the exit status."""
    console.show_own_lines()
    try:
        config, named = parse_flags(arguments)
        if not arguments:
            console.log.info("no flags: running %s on %s", QUICKSTART.name, config.data_dir)
        idle = flags_without_effect(arguments, config)
        if idle:
            console.log.info("without effect here: %s", "; ".join(idle))
        _dispatch(config, named)
    except UserError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped; the same command continues a training from its last checkpoint", file=sys.stderr)
        return INTERRUPTED
    return 0


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
