"""The models of a sweep: trained by main.py, trained again where they miss their rate, scored; nothing twice."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from nsc.errors import UserError
from options.config import parse_flags
from scripts.sweep.grid import Grid, Point

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "main.py"
FINETUNING = 5  # training mode
STAGES = {FINETUNING: "finetuned"}  # all others are greedy


class Scored(NamedTuple):
    """A trained model after one of its trainings.

    Attributes:
        point: which model, with the target of this training as its start.
        stage: 'greedy' or 'finetuned'.
        run: its folder.
        scores: of mode 0 at full depth; empty where the sweep does not evaluate.
    """

    point: Point
    stage: str
    run: Path
    scores: dict[str, Any]

    @property
    def id(self) -> str:
        """The run's."""
        return self.run.name.split("_")[0]


@dataclass(frozen=True)
class Sweep:
    """A grid, and the folder where its models are; travels to other processes.

    Attributes:
        grid: what is trained.
        output: holds models in check/, journals in doc/, scores in scores/ and what was printed in logs/.
        data_dir: speech.
        max_files: test files to score, 0 for all.
        flags: of main.py, equal for all models; they override the grid's.
        program: main.py.
    """

    grid: Grid
    output: Path
    data_dir: Path
    max_files: int = 0
    flags: Sequence[str] = ()
    program: Path = MAIN

    def train(self, point: Point) -> list[Scored]:
        """The model after each of its trainings, each within the tolerance of its rate, or the nearest of all tries.

        Raises:
            UserError: a training or an evaluation failed.
        """
        scored: list[Scored] = []
        for mode in self.trainings(point):
            aimed = replace(point, start=scored[-1].point.start) if scored else point
            scored.append(self._nearest(aimed, mode, scored[-1].id if scored else ""))
        return scored

    def _nearest(self, point: Point, mode: int, base: str) -> Scored:
        """The model after one of its trainings, which is repeated with another target where files miss their rate."""
        corrects = self.grid.tolerance and point.kbps
        target, tried = point.start or point.kbps, list[Scored]()
        while not tried or (corrects and len(tried) < self.grid.tries and _miss(tried[-1]) > self.grid.tolerance):
            if tried:
                target *= point.kbps / tried[-1].scores["kbps"]
            aimed = replace(point, start=round(target, 2))
            run = self._trained(aimed, mode, base)
            tried.append(Scored(aimed, STAGES.get(mode, "greedy"), run, self._scores(run)))
        return min(tried, key=_miss) if corrects else tried[-1]

    def trainings(self, point: Point) -> list[int]:
        """The modes that the model goes through."""
        single = parse_flags(self.flags_of(point))[0].num_modules == 1
        return [mode for mode in self.grid.modes if not (single and mode == FINETUNING)]

    def flags_of(self, point: Point) -> list[str]:
        """All flags that define the model."""
        flags = point.flags | ({"target_kbps": f"{point.start:g}"} if point.start else {})
        return [*(text for flag, value in flags.items() for text in (f"--{flag}", value)), *self.flags]

    def command(self, point: Point, mode: int, base: str) -> list[str]:
        """The flags of one training."""
        named = ["--training_mode", str(mode), "--suffix", self._suffix(point, mode, base)]
        return [*named, *(["--base_model_id", base] if base else []), *self.flags_of(point)]

    def _suffix(self, point: Point, mode: int, base: str) -> str:
        """The end of a run's name: the sweep, the model, all that its flags and its base make of it, and the stage."""
        identity = json.dumps(parse_flags(self.flags_of(point))[0].identity(), sort_keys=True)
        digest = hashlib.sha256((identity + base).encode()).hexdigest()[:6]
        return f"_{self.grid.name}_{point.name}_{digest}_{STAGES.get(mode, 'greedy')}"

    def _trained(self, point: Point, mode: int, base: str) -> Path:
        suffix = self._suffix(point, mode, base)
        run = self._finished(suffix)
        if run is None:
            self._main(f"train{suffix}", self.command(point, mode, base))
            run = self._finished(suffix)
        assert run is not None
        return run

    def _finished(self, suffix: str) -> Path | None:
        """The newest finished run whose name ends so."""
        runs = sorted((self.output / "check").glob(f"*{suffix}"))
        return next((run for run in reversed(runs) if _is_finished(run)), None)

    def _scores(self, run: Path) -> dict[str, Any]:
        if not self.grid.evaluate:
            return {}
        run_id = run.name.split("_")[0]
        if not self._summaries(run_id):
            flags = ["--training_mode", "0", "--base_model_id", run_id, "--max_files", str(self.max_files)]
            self._main(f"score{run.name}", flags)
        depths: list[dict[str, Any]] = json.loads(self._summaries(run_id)[-1].read_text())["depths"]
        return depths[-1]

    def _summaries(self, run_id: str) -> list[Path]:
        return sorted((self.output / "scores" / run_id).glob("*/summary.json"))

    def _main(self, work: str, flags: Sequence[str]) -> None:
        folders = {name: self.output / folder for name, folder in (("check", "check"), ("doc", "doc"))}
        folders |= {"output": self.output / "scores", "data": self.data_dir}
        places = [f"--{name}_dir={folder}" for name, folder in folders.items()]
        log = self.output / "logs" / f"{work}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "scripts.sweep.child", str(self.program), *flags, *places]
        with log.open("ab") as lines:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=lines, stderr=subprocess.STDOUT)
            status = process.wait()
        if status:
            last = (log.read_text(errors="replace").splitlines() or ["nothing was printed"])[-1]
            raise UserError(f"{last} (status {status}; {log})")


def _miss(model: Scored) -> float:
    """Share by which files miss their rate."""
    return abs(float(model.scores["kbps"]) / model.point.kbps - 1)


def _is_finished(run: Path) -> bool:
    return bool(json.loads((run / "state.json").read_text())["status"] == "finished")
