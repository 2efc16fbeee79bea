"""The ablation's script: equal rates, no work done twice, a table over seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from kinds.samples.front_end import lsf_codebook
from scripts import ablation
from scripts.ablation import Ablation, Point, Trained
from scripts.claimed_runs import ClaimedRuns


class CostlyFiles(ClaimedRuns):
    """Training takes no time, and files cost 10 % more than was aimed at."""

    def __init__(self, output: Path, busy: bool = False) -> None:
        super().__init__(output, output)
        self.busy = busy
        self.trained: list[float] = []

    def main(self, work: str, flags: Sequence[str]) -> bool:
        if self.busy:
            return False
        target = float(work.rpartition("target")[2])
        name = f"20260101-{len(self.trained):06d}-abc"
        if work.startswith("train"):
            self.trained.append(target)
            (self.output / "check" / f"{name}{work.removeprefix('train')}").mkdir(parents=True)
        else:
            folder = self.output / "scores" / flags[flags.index("--base_model_id") + 1] / "first"
            folder.mkdir(parents=True)
            folder.joinpath("summary.json").write_text(json.dumps({"depths": [{"kbps": 1.1 * target}]}))
        return True


POINT = Point("cq", 9.0, 0)


def test_a_model_off_its_rate_is_trained_again_nearer_to_it(tmp_path: Path) -> None:
    costly = CostlyFiles(tmp_path)
    found = Ablation(costly, 4, []).point(POINT, 9.0)
    assert costly.trained == [9.0, 8.18]
    assert found is not None and found.scores["kbps"] == pytest.approx(9.0, rel=0.02)


def test_what_is_trained_and_scored_is_not_done_again(tmp_path: Path) -> None:
    first = Ablation(CostlyFiles(tmp_path), 4, []).point(POINT, 9.0)
    again = CostlyFiles(tmp_path)
    assert Ablation(again, 4, []).point(POINT, 9.0) == first
    assert again.trained == []


def test_a_point_that_another_process_trains_is_left_to_it(tmp_path: Path) -> None:
    assert Ablation(CostlyFiles(tmp_path, busy=True), 4, []).point(POINT, 9.0) is None


def test_the_table_has_means_over_seeds_and_how_far_they_lie_apart(tmp_path: Path) -> None:
    ablation_of_two = Ablation(ClaimedRuns(tmp_path, tmp_path), 4, [])
    models = []
    for seed, pesq in enumerate((3.0, 3.2)):
        run = tmp_path / "check" / f"run{seed}"
        stage = run / "stages" / "first"
        stage.mkdir(parents=True)
        np.savez(stage / "model.npz", **{ablation.CODEBOOK: lsf_codebook(), "table/lpc": np.ones(7)})  # type: ignore[arg-type]
        (tmp_path / "doc").mkdir(exist_ok=True)
        (tmp_path / "doc" / f"run{seed}.jsonl").write_text('{"event": "validated", "gap_codec_1": 0.02}\n')
        models.append(Trained(9.0, {"kbps": 9.0, "pesq_wb": pesq, "stoi": 0.9, "si_sdr": 8.0}, run))
    row = ablation.row("CQ", models, ablation_of_two)
    assert row["PESQ-WB"] == "3.100 ±0.141"
    assert row["LSF levels moved"] == "0.000"
    assert row["parameters"] == "256"


def test_levels_are_counted_in_their_own_steps(tmp_path: Path) -> None:
    stage = tmp_path / "stages" / "first"
    stage.mkdir(parents=True)
    levels = lsf_codebook().reshape(16, 16)
    steps = np.diff(levels, axis=1).mean(axis=1, keepdims=True)
    np.savez(stage / "model.npz", **{ablation.CODEBOOK: (levels + steps / 2).reshape(-1)})
    assert ablation.moved_levels(tmp_path) == pytest.approx(0.5, rel=1e-4)
