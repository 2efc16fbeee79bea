"""The claim of collaborative quantization, tested: no LPC, LPC with a fixed codebook, LPC with a learned one.

python -m scripts.ablation --data_dir SPEECH --output ablation -- --epoch_tanh 3 --steps_per_epoch 700

Trains one codec a method, rate and seed, equal in all else, scores each through written files of test speakers, and
prints a table. What follows `--` goes to main.py. A model whose files are more than 2 % off the target rate is trained
again with its target corrected by what was found, so that methods are compared at equal rate of files. Stopped, the
same command continues; started several times with one output folder, the processes share the work.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from nsc.console import exit_status
from runs.saved_model import TABLE_PREFIX
from scripts.claimed_runs import ClaimedRuns
from scripts.measure.codebook import CODEBOOK, movement

METHODS = {"time_domain": "no LPC", "fixed_lpc": "LPC, fixed codebook", "cq": "LPC, learned codebook (CQ)"}
TOLERANCE = 0.02  # of the target rate
TRIES = 3
STAGE = "first"


class Point(NamedTuple):
    """One model of the ablation: method, target kbps of files, seed."""

    method: str
    kbps: float
    seed: int

    def suffix(self, target: float) -> str:
        """The end of the name of the run that aims at `target` kbps for it."""
        return f"_{self.method}_{self.kbps:g}_seed{self.seed}_target{target:.2f}"


class Trained(NamedTuple):
    """A trained and scored model: its target kbps, the scores of mode 0, and the folder of its run."""

    target: float
    scores: dict[str, Any]
    run: Path


class Ablation:
    """Trains and scores the points in a folder."""

    def __init__(self, runs: ClaimedRuns, max_files: int, flags: Sequence[str]) -> None:
        self._runs, self._max_files, self._flags = runs, max_files, flags

    def point(self, point: Point, target: float) -> Trained | None:
        """The point's model within 2 % of its rate, or the nearest of three; nothing while another trains it."""
        tried: list[Trained] = []
        while len(tried) < TRIES:
            trained = self._train(point, target)
            if trained is None:
                return None
            tried.append(trained)
            found = trained.scores["kbps"]
            if abs(found / point.kbps - 1) <= TOLERANCE:
                break
            target *= point.kbps / found
        return min(tried, key=lambda each: abs(each.scores["kbps"] - point.kbps))

    def _train(self, point: Point, target: float) -> Trained | None:
        suffix = point.suffix(target)
        run = self._runs.run(suffix)
        if run is None or not self._runs.summary(run):
            train = ["--config", point.method, "--target_kbps", f"{target:.2f}", "--seed", str(point.seed)]
            named = ["--training_mode", "1", "--suffix", suffix]
            if not self._runs.main(f"train{suffix}", [*train, *named, *self._flags]):
                return None
            run = self._runs.run(suffix)
            assert run is not None
            evaluate = ["--training_mode", "0", "--base_model_id", run.name.split("_")[0]]
            if not self._runs.main(f"score{suffix}", [*evaluate, "--max_files", str(self._max_files)]):
                return None
        summary = self._runs.summary(run)
        assert summary is not None
        return Trained(target, json.loads(summary.read_text())["depths"][-1], run)

    def gap(self, run: Path) -> float:
        """RMS of soft mixture less hard decision of the codes, as the run's last validation found it."""
        lines = (self._runs.output / "doc" / f"{run.name}.jsonl").read_text().splitlines()
        events = [event for event in map(json.loads, lines) if event["event"] == "validated"]
        return float(events[-1]["gap_codec_1"])


def moved_levels(run: Path) -> float:
    """RMS distance of the LSF levels from where training began, in steps between neighbouring levels."""
    with np.load(run / "stages" / STAGE / "model.npz") as arrays:
        if CODEBOOK not in arrays:
            return float("nan")
        return float(np.sqrt(np.mean(np.square(movement(arrays[CODEBOOK])))))


def parameters(run: Path) -> int:
    """Numbers that the run's model holds besides its tables."""
    with np.load(run / "stages" / STAGE / "model.npz") as arrays:
        return sum(arrays[name].size for name in arrays if not name.startswith(TABLE_PREFIX))


def row(name: str, models: Sequence[Trained], ablation: Ablation) -> dict[str, str]:
    """A row of the table: means and standard deviations over seeds."""

    def over_seeds(values: Sequence[float], digits: int) -> str:
        spread = f" ±{np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
        return f"{np.mean(values):.{digits}f}{spread}"

    def scores(measure: str, digits: int) -> str:
        return over_seeds([each.scores[measure] for each in models], digits)

    moved = [moved_levels(each.run) for each in models]
    return {
        "method": name,
        "parameters": str(parameters(models[0].run)),
        "seeds": str(len(models)),
        "kbps": scores("kbps", 2),
        "PESQ-WB": scores("pesq_wb", 3),
        "STOI": scores("stoi", 4),
        "SI-SDR dB": scores("si_sdr", 2),
        "soft-hard gap": over_seeds([ablation.gap(each.run) for each in models], 4),
        "LSF levels moved": "" if np.isnan(moved).any() else f"{np.mean(moved):.3f}",
    }


def main() -> int:
    """Runs the ablation; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="speech to train and to score on")
    parser.add_argument("--output", type=Path, default=Path("ablation"), help="folder of models and scores")
    parser.add_argument("--kbps", type=float, nargs="+", default=[9.0, 24.0], help="rates of files (default 9 24)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds (default 0 1 2)")
    parser.add_argument("--max_files", type=int, default=64, help="test files, evenly spread; 0: all (default 64)")
    parser.add_argument("flags", nargs="*", help="after --: flags of main.py, equal for all models")
    options = parser.parse_args()
    return exit_status("ablation.py", lambda: _run(options), "stopped; the same command continues")


def _run(options: argparse.Namespace) -> None:
    runs = ClaimedRuns(options.output.resolve(), options.data_dir.resolve())
    ablation = Ablation(runs, options.max_files, options.flags)
    targets: dict[tuple[str, float], float] = {}
    found: dict[tuple[str, float], list[Trained]] = {}
    for seed in options.seeds:  # every method once before any twice
        for kbps in options.kbps:
            for method in METHODS:
                trained = ablation.point(Point(method, kbps, seed), targets.get((method, kbps), kbps))
                if trained:
                    targets[method, kbps] = trained.target
                    found.setdefault((method, kbps), []).append(trained)
    rows = [row(METHODS[method], models, ablation) for (method, _), models in found.items()]
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    sys.exit(main())
