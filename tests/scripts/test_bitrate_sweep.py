"""The sweep's script: what it trains and measures, in which order, and what it does not do twice."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.places import ROOT

# Stands in for Python: each call is a line in the log; a sweep prints a model for every rate that is not even.
STAND_IN = """#!/usr/bin/env bash
echo "$*" >> "{log}"
[[ "$2" == scripts.sweep ]] || exit 0
status=0
for word in "$@"; do
    case "$word" in
    target_kbps=0) ;;
    target_kbps=* | target_entropy=*)
        for rate in ${{word#*=}}; do
            [[ "$rate" == *[13579] ]] && echo "2 codecs=2026$rate" || status=1
        done
        ;;
    esac
done
exit $status
"""


class Sweep:
    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        self.python = folder / "python"
        self.python.write_text(STAND_IN.format(log=self.log))
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


def test_rates_and_entropies_are_trained_and_measured_with_the_same_flags(sweep: Sweep) -> None:
    flags = [
        "--kbps",
        "9 23",
        "--entropies",
        "1.5 2.1",
        "--modules",
        "1 2",
        "--measures",
        "stoi snr",
        "--processes",
        "3",
    ]
    finished = sweep.run("--data_dir", "speech", *flags, "--", "--config", "cq_24k")
    assert finished.returncode == 0, finished.stderr
    rates, entropies = sweep.lines("scripts.sweep")
    assert "configs/sweeps/bitrates.toml" in rates
    assert "--set num_resnets=1 2 --set target_kbps=9 23 --processes=3 -- --config cq_24k" in rates
    assert "--set target_kbps=0 --set target_entropy=1.5 2.1 --processes=3 -- --config cq_24k" in entropies
    [measured] = sweep.lines("report.py measure")
    assert "--measures stoi snr --processes=3 --models 2 codecs=20269 2 codecs=202623 2 codecs=20261.5" in measured
    assert len(sweep.lines("report.py draw")) == 1


def test_given_models_are_measured_without_training(sweep: Sweep) -> None:
    finished = sweep.run("--data_dir", "speech", "--models", "2026a 2026b/first")
    assert finished.returncode == 0, finished.stderr
    assert sweep.lines("main.py") == []
    assert sweep.lines("--models 2026a 2026b/first")


def test_what_could_be_trained_is_measured_and_the_status_says_that_some_could_not(sweep: Sweep) -> None:
    assert sweep.run("--data_dir", "speech", "--kbps", "9 24").returncode == 1
    [measured] = sweep.lines("report.py measure")
    assert measured.endswith("--models 2 codecs=20269")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data_dir", "nowhere", "--models", "a"], "argument --data_dir: no folder 'nowhere'"),
        (["--data_dir", "speech"], "one of the arguments --kbps --entropies --models is required"),
        (["--data_dir"], "argument --data_dir: expected one argument"),
        (["--bitrates", "9"], "unrecognized arguments: --bitrates"),
    ],
)
def test_bad_arguments_end_in_one_line(sweep: Sweep, arguments: list[str], message: str) -> None:
    finished = sweep.run(*arguments)
    assert finished.returncode == 2
    assert message in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert not (sweep.folder / "out").exists()
