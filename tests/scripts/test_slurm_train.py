"""The script for SLURM: the TF_CONFIG of every node, and what happens when a task ends badly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.places import ROOT
from training.distribute import place_in_cluster

SCRIPTS = ROOT / "scripts"
# Two nodes, one task each; the job ends with the highest status of all tasks, as SLURM's does.
SRUN = """#!/usr/bin/env bash
while [[ "$1" == --* ]]; do shift; done
highest=0
for node in 0 1; do
    SLURM_NODEID=$node "$@" || status=$?
    ((${status:-0} <= highest)) || highest=$status
    unset status
done
exit $highest
"""
SCONTROL = """#!/usr/bin/env bash
[[ "$*" == "show hostnames node[7-8]" ]] && printf 'node7\\nnode8\\n'
"""
# Stands in for Python: a line in the log; the statuses in a file are those with which the tasks end.
PYTHON = """#!/usr/bin/env bash
echo "$TF_CONFIG $*" >> log
status="$(head -n 1 statuses)"
sed -i 1d statuses
exit "${status:-0}"
"""


class Job:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        shutil.copy(SCRIPTS / "slurm_train.sh", folder / "scripts")
        for name, text in {"srun": SRUN, "scontrol": SCONTROL, "python": PYTHON}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def run(self, *flags: str, statuses: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "statuses").write_text(statuses)
        slurm = {"SLURM_JOB_ID": "41234", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NTASKS": "2", "SLURM_NNODES": "2"}
        own = {"TRAIN_PYTHON": str(self.folder / "python"), "PATH": f"{self.folder}:{os.environ['PATH']}"}
        return subprocess.run(
            ["bash", "scripts/slurm_train.sh", *flags],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=os.environ | slurm | own | environment,
        )

    def log(self) -> list[str]:
        return (self.folder / "log").read_text().splitlines()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_every_node_gets_its_place_in_the_cluster_and_the_flags(job: Job) -> None:
    finished = job.run("--config", "cq_24k")
    assert finished.returncode == 0, finished.stderr
    configs = [line.partition(" main.py ")[0] for line in job.log()]
    assert [place_in_cluster(config) for config in configs] == [(0, 2), (1, 2)]
    assert json.loads(configs[0])["cluster"] == {"worker": ["node7:21234", "node8:21234"]}
    assert all(line.endswith("main.py --distribute multiworker --config cq_24k") for line in job.log())


def test_after_the_death_of_a_task_all_start_again(job: Job) -> None:
    finished = job.run(statuses="2\n137\n0\n0\n")
    assert finished.returncode == 0
    assert "a task ended with status 137; all start again" in finished.stderr
    assert len(job.log()) == 4


def test_restarts_come_to_an_end(job: Job) -> None:
    finished = job.run(statuses="137\n" * 20, TRAIN_RESTARTS="1")
    assert finished.returncode == 137
    assert len(job.log()) == 4


def test_a_mistake_in_the_flags_ends_the_job(job: Job) -> None:
    assert job.run("--sed", "1", statuses="2\n2\n").returncode == 2
    assert len(job.log()) == 2


def test_outside_of_slurm_it_says_how_to_start(job: Job) -> None:
    finished = job.run(SLURM_JOB_ID="")
    assert finished.returncode == 2
    assert "start it by: sbatch --nodes 2" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_several_tasks_a_node_are_refused(job: Job) -> None:
    finished = job.run(SLURM_NTASKS="16")
    assert finished.returncode == 2
    assert "expected one task a node, found 16 tasks on 2 nodes" in finished.stderr
