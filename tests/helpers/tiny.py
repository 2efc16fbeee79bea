"""A network, a corpus and a schedule so small that a test can train through every mode."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import main
from kinds import control
from kinds.spectral.fitting import training_symbols
from options.config import Config
from options.option import flag_of
from runs.runs import Journal, Run
from tests.helpers.places import CORPUS, ROOT
from training import loop, modes, validation

NETWORK: dict[str, Any] = {"block": "folded", "folded_width": 16, "folded_narrow": 8, "folded_blocks": 1, "fold": 32}
SCHEDULE: dict[str, Any] = {
    "batch_size": 4,
    "steps_per_epoch": 3,
    "epochs": 1,
    "follower_epochs": (1, 1),
    "pretrain_epochs": 0,
    "learning_rate": 1e-3,
    "follower_learning_rates": (1e-3, 1e-3),
    "validation_files": 1,
    "context_minutes": 0.0,
    "tensorboard": False,
    "data_dir": str(CORPUS),
}
RATE_CORRECTIONS = 0
FEWEST_FILES = 1  # for tables that nobody measures
VALIDATED = 7_600  # samples of a validation file: one group


def config(**changes: Any) -> Config:
    """A tiny configuration, changed in the named fields."""
    return Config(**(NETWORK | SCHEDULE | changes))


class Workplace:
    """A folder with its own models, journals and caches, and the command line that works there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.check, self.doc, self.output = root / "check", root / "doc", root / "decoded"

    def config(self, **changes: Any) -> Config:
        """A tiny configuration whose places are this folder's."""
        places = {"check_dir": self.check, "doc_dir": self.doc, "output_dir": self.output}
        named = {name: str(path) for name, path in places.items()}
        return config(**(named | {"cache_dir": str(self.root / "packed")} | changes))

    def flags(self, **changes: Any) -> list[str]:
        """The command line of `config`: what differs from the defaults or is named here."""
        wanted, default = self.config(**changes), Config()
        return [
            word
            for field in dataclasses.fields(Config)
            for value in [getattr(wanted, field.name)]
            if field.name in changes or value != getattr(default, field.name)
            for word in (f"--{flag_of(field)}", _as_text(value))
        ]

    def run(self, *extra: str, **changes: Any) -> int:
        """The exit status of the command line with these options."""
        with eager_and_short():
            return main.main([*self.flags(**changes), *extra])

    def train(self, *named: str, **changes: Any) -> Run:
        """Trains by the command line's way, as if these flags had been named, and gives the run."""
        wanted = self.config(**changes)
        with eager_and_short():
            return modes.train(wanted, {name: changes[name] for name in named})

    def start(self, *extra: str, **changes: Any) -> subprocess.Popen[str]:
        """Starts the command line in a process of its own."""
        # A child of a process that ignores Ctrl-C, as jobs in the background do, would ignore it too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return subprocess.Popen(
            [sys.executable, "-u", str(ROOT / "main.py"), *self.flags(**changes), *extra],
            cwd=self.root,
            env={name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def folders(self) -> list[Path]:
        """The folders of all runs, oldest first."""
        return sorted(path.parent for path in self.check.glob("*/state.json"))

    def events(self, run: Run, event: str) -> list[dict[str, Any]]:
        """All journal lines of one kind."""
        lines = Journal.read(self.doc / f"{run.folder.name}.jsonl")
        return [line for line in lines if line["event"] == event]


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 600) -> None:
    """Waits until something is so, while a process that should bring it about lives."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def eager_and_short() -> Iterator[None]:
    """Without compiling graphs, which for a few steps takes longer than the steps, and with quickly counted tables.

    A model of a few steps misses its rate however often it is corrected, and however long the files that measure it.
    """
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # tf.data stays compiled, as it should
        warnings.filterwarnings("ignore", message="Even though the `tf.config.experimental_run_functions_eagerly`")
        patch.setattr(loop, "TABLE_STEPS", 2)
        patch.setattr(loop, "VALIDATION_TABLE_STEPS", 1)
        patch.setattr(control, "RATE_CORRECTIONS", RATE_CORRECTIONS)
        patch.setattr(training_symbols, "FEWEST_FILES", FEWEST_FILES)
        patch.setattr(validation, "LONGEST", VALIDATED)
        patch.setattr(validation, "RATED", 0)
        tf.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(False)


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(int(value)) if isinstance(value, bool) else str(value)
