"""Trainings and evaluations by main.py in one folder, whose work processes on several machines share."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from comparison.claims import TAKEN
from nsc.errors import UserError

ROOT = Path(__file__).resolve().parent.parent


class ClaimedRuns:
    """Models in check/, journals in doc/ and scores in scores/ of a folder; each piece of work is done once."""

    def __init__(self, output: Path, data_dir: Path) -> None:
        self.output, self._data_dir = output, data_dir

    def main(self, work: str, flags: Sequence[str]) -> bool:
        """Runs main.py for a piece of work of that name; false where another process is at it.

        Raises:
            UserError: it failed.
        """
        folders = {name: self.output / folder for name, folder in (("check", "check"), ("doc", "doc"))}
        folders |= {"output": self.output / "scores", "data": self._data_dir}
        places = [f"--{name}_dir={folder}" for name, folder in folders.items()]
        command = [sys.executable, str(ROOT / "main.py"), *flags, *places]
        claimed = [sys.executable, "-m", "comparison.claims", str(self.output / "claims" / work), *command]
        status = subprocess.run(claimed, cwd=ROOT).returncode
        if status not in (0, TAKEN):
            raise UserError(f"{shlex.join(command)} ended with {status}; its last lines say why")
        return status == 0

    def run(self, suffix: str) -> Path | None:
        """The newest run whose name ends so."""
        found = sorted((self.output / "check").glob(f"*{suffix}"))
        return found[-1] if found else None

    def summary(self, run: Path) -> Path | None:
        """The scores of a run's latest stage, where it has been evaluated."""
        found = sorted((self.output / "scores" / run.name.split("_")[0]).glob("*/summary.json"))
        return found[-1] if found else None
