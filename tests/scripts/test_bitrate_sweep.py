"""The sweep's script: what it trains and measures, in which order, and what it does not do twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from comparison.claims import claim
from tests.helpers.places import ROOT

# Stands in for Python: claims are real, trainings only leave a run's folder, all else is a line in the log.
STAND_IN = """#!/usr/bin/env bash
if [[ "$1" == -m ]]; then exec {python} "$@"; fi
echo "$*" >> "{log}"
[[ "$1" == main.py ]] || exit 0
[[ ! -e "{folder}/fail" ]] || exit 1
while (($#)); do
    case "$1" in --suffix) suffix="$2" ;; --check_dir) check="$2" ;; esac
    shift
done
mkdir -p "$check/20260101-000000-abcdef01$suffix"
"""


class Sweep:
    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        self.python = folder / "python"
        self.python.write_text(STAND_IN.format(python=sys.executable, log=self.log, folder=folder))
        self.python.chmod(0o755)
        (folder / "speech").mkdir()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(ROOT / "scripts" / "bitrate_sweep.sh"), "--output", str(self.folder / "out"), *arguments]
        environment = os.environ | {"SWEEP_PYTHON": str(self.python)}
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=self.folder)

    def lines(self, word: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if word in line]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def test_every_entropy_and_number_of_codecs_is_trained_finetuned_and_measured_once(sweep: Sweep) -> None:
    flags = ["--data_dir", "speech", "--entropies", "1.5 2.2", "--modules", "1 2", "--", "--config", "cq_24k"]
    for _ in range(2):
        finished = sweep.run(*flags)
        assert finished.returncode == 0, finished.stderr
    trainings = sweep.lines("main.py")
    assert len(sweep.lines("--training_mode 4")) == 4
    assert len(sweep.lines("--training_mode 5")) == 2
    assert all("--config cq_24k" in line for line in trainings)
    assert sum("--num_resnets 2 --target_entropy 1.5" in line for line in trainings) == 1
    assert sum("--base_model_id 20260101-000000-abcdef01 " in line for line in trainings) == 2
    measurements = sweep.lines("report.py measure")
    assert len(measurements) == 2
    assert measurements[0].count("codecs=20260101-000000-abcdef01") == 4
    assert measurements[0].count("2 codecs=") == 2
    assert len(sweep.lines("report.py draw")) == 2


def test_a_sweep_over_kbps_trains_each_rate(sweep: Sweep) -> None:
    finished = sweep.run("--data_dir", "speech", "--kbps", "9 24", "--modules", "2", "--", "--config", "cq_24k")
    assert finished.returncode == 0, finished.stderr
    assert sum("--num_resnets 2 --target_kbps 9 --suffix _k9_m2" in line for line in sweep.lines("main.py")) == 1
    assert len(sweep.lines("--target_kbps 24")) == 2
    assert sweep.lines("--target_entropy") == []


def test_given_models_are_measured_without_training(sweep: Sweep) -> None:
    finished = sweep.run("--data_dir", "speech", "--models", "2026a 2026b/first")
    assert finished.returncode == 0, finished.stderr
    assert sweep.lines("main.py") == []
    assert sweep.lines("--models 2026a 2026b/first")


def test_a_point_in_work_elsewhere_is_left_and_the_others_go_on(sweep: Sweep) -> None:
    with claim(sweep.folder / "out" / "points" / "greedy_e1.5_m1.claim"):
        finished = sweep.run("--data_dir", "speech", "--entropies", "1.5 2.2", "--modules", "1")
    assert finished.returncode == 0
    assert "not trained by now: e1.5_m1" in finished.stderr
    assert len(sweep.lines("main.py")) == 1
    sweep.run("--data_dir", "speech", "--entropies", "1.5 2.2", "--modules", "1")
    assert len(sweep.lines("main.py")) == 2


def test_a_training_that_failed_is_named_and_tried_again(sweep: Sweep) -> None:
    (sweep.folder / "fail").touch()
    finished = sweep.run("--data_dir", "speech", "--entropies", "1.5")
    assert "not trained by now: e1.5_m1" in finished.stderr
    (sweep.folder / "fail").unlink()
    assert "not trained" not in sweep.run("--data_dir", "speech", "--entropies", "1.5").stderr
    assert len(sweep.lines("main.py")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data_dir", "nowhere", "--models", "a"], "expected a folder of speech"),
        (["--data_dir", "speech"], "expected --kbps or --entropies to train for, or --models"),
        (["--data_dir"], "expected a value after --data_dir"),
        (["--bitrates", "9"], "found '--bitrates'"),
    ],
)
def test_bad_arguments_end_in_one_line(sweep: Sweep, arguments: list[str], message: str) -> None:
    finished = sweep.run(*arguments)
    assert finished.returncode == 2
    assert message in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert not (sweep.folder / "out").exists()
