"""Sweeps: which models a grid has, what is trained and not done twice, and what happens when a worker is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comparison import cluster
from comparison.cluster import Place, open_workers, outcomes
from nsc.errors import UserError
from options.config import parse_flags
from scripts.sweep import __main__ as command
from scripts.sweep.grid import Grid, Point, read_grid
from scripts.sweep.points import Scored, Sweep
from scripts.sweep.table import CODEBOOK, document, draw, moved_levels, parameters
from tests.helpers import stand_in
from tests.helpers.places import CORPUS, ROOT

GRIDS = ROOT / "configs" / "sweeps"
STAND_IN = Path(stand_in.__file__)
TWO_RATES = """
modes = [1]
[axes]
seed = [0, 1]
target_kbps = [9, 24]
"""


def grid_of(folder: Path, text: str = TWO_RATES) -> Grid:
    (folder / "small.toml").write_text(text)
    return read_grid(folder / "small.toml")


def sweep_of(folder: Path, grid: Grid, *flags: str) -> Sweep:
    return Sweep(grid, folder / "out", CORPUS, flags=flags, program=STAND_IN)


def calls(sweep: Sweep) -> list[str]:
    path = sweep.output / "calls"
    return path.read_text().splitlines() if path.exists() else []


def modes(sweep: Sweep) -> list[str]:
    return [line.split("--training_mode ")[1].split()[0] for line in calls(sweep)]


@pytest.mark.slow
def test_all_methods_strides_and_rates_of_the_papers_are_trained() -> None:
    points = list(read_grid(GRIDS / "paper.toml").points())
    assert len({point.name for point in points}) == 4 * 2 * 5
    modules = {"as K-Net: no LPC, one codec": (1, 1), "CMRL: no LPC, two codecs": (2, 2)}  # up to 16 kbps, and above
    sweep = Sweep(read_grid(GRIDS / "paper.toml"), Path("out"), CORPUS)
    for point in points:
        config = parse_flags(sweep.flags_of(point))[0]
        method = point.labels["method"]
        assert config.num_modules == modules.get(method, (1, 2))[point.kbps > 16]
        assert config.target_kbps == point.kbps
        assert f"stride{config.of_modules('strides')[0]}" in point.name.replace("the_strides", "stride")
        assert config.time_domain is (method in modules)
        assert config.train_lsf_codebook is (method != "LPC-CMRL: fixed codebook")
        assert sweep.trainings(point) == ([4] if config.num_modules == 1 else [4, 5])


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(GRIDS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_flags_of_every_grid_are_flags(path: Path) -> None:
    sweep = Sweep(read_grid(path), Path("out"), CORPUS)
    for point in sweep.grid.points():
        for mode in sweep.trainings(point):
            parse_flags(sweep.command(point, mode, ""))


def test_an_axis_takes_other_values_and_names_of_its_own(tmp_path: Path) -> None:
    grid = read_grid(GRIDS / "paper.toml").with_axis("target_kbps=12").with_axis("method=cq lpc_cmrl")
    grid = grid.with_axis("seed=0 1")
    assert [(point.kbps, point.labels["method"]) for point in grid.with_axis("the_strides=2").points()] == [
        *[(12, "CQ")] * 2,
        *[(12, "LPC-CMRL: fixed codebook")] * 2,
    ]
    with pytest.raises(UserError, match="argument --set: method has cq, lpc_cmrl, not 'opus'"):
        grid.with_axis("method=opus")
    with pytest.raises(UserError, match="expected AXIS=VALUES"):
        grid.with_axis("method")


@pytest.mark.parametrize("text", ["", "axes = 3", "[axes]\nseed = [1]\n[flag]\n", "[axes", "[axes]\nseed = 1"])
def test_what_is_no_grid_is_named_in_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"small\.toml"):
        grid_of(tmp_path, text)


def test_a_cascade_is_trained_finetuned_and_scored_in_both_stages_once(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, grid_of(tmp_path, "[axes]\nnum_resnets = [2]\ntarget_kbps = [24]"))
    (tmp_path / "out").mkdir()
    [point] = sweep.grid.points()
    first = sweep.train(point)
    assert [each.stage for each in first] == ["greedy", "finetuned"]
    assert modes(sweep) == ["4", "0", "5", "0"]
    assert f"--base_model_id {first[0].id}" in calls(sweep)[2]
    assert sweep.train(point) == first
    assert len(calls(sweep)) == 4


def test_other_flags_make_another_run(tmp_path: Path) -> None:
    grid = grid_of(tmp_path).with_axis("seed=0").with_axis("target_kbps=9")
    (tmp_path / "out").mkdir()
    for flag in ("1", "2", "1"):
        sweep = sweep_of(tmp_path, grid, "--epoch_tanh", flag)
        sweep.train(next(grid.points()))
    assert modes(sweep) == ["1", "0", "1", "0"]


def test_a_model_off_its_rate_is_trained_again_nearer_to_it(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, replace(grid_of(tmp_path), tolerance=0.02))
    (tmp_path / "out").mkdir()
    [found] = sweep.train(next(sweep.grid.points()))
    assert found.scores["kbps"] == pytest.approx(9.0, rel=0.02)
    assert found.point.start == 8.18
    assert modes(sweep) == ["1", "0", "1", "0"]
    repetition = replace(next(sweep.grid.with_axis("seed=1").points()), start=8.18)
    assert sweep.train(repetition)[0].scores["kbps"] == pytest.approx(9.0, rel=0.02)
    assert len(calls(sweep)) == 6


def test_finetuning_off_the_rate_is_repeated_on_the_greedy_model_that_met_it(tmp_path: Path) -> None:
    grid = grid_of(tmp_path, "[axes]\nnum_resnets = [2]\ntarget_kbps = [24]")
    sweep = sweep_of(tmp_path, replace(grid, tolerance=0.02))
    (tmp_path / "out").mkdir()
    greedy, finetuned = sweep.train(next(sweep.grid.points()))
    assert [each.scores["kbps"] for each in (greedy, finetuned)] == pytest.approx([24.0, 24.0], rel=0.02)
    assert modes(sweep) == ["4", "0", "4", "0", "5", "0", "5", "0"]
    assert all(f"--base_model_id {greedy.id}" in call for call in calls(sweep) if "--training_mode 5" in call)


def test_a_training_that_fails_says_its_last_line(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, grid_of(tmp_path))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fail").touch()
    with pytest.raises(UserError, match=r"main.py: expected more, found less .status 2"):
        sweep.train(next(sweep.grid.points()))


def run(tmp_path: Path, *flags: str) -> int:
    grid_of(tmp_path)
    places = ["--data_dir", str(CORPUS), "--output", str(tmp_path / "out")]
    return command.main([str(tmp_path / "small.toml"), *places, *flags], STAND_IN)


@pytest.mark.slow
def test_a_killed_worker_s_training_is_run_again_and_a_finished_sweep_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "wait").touch()
    killed: list[int] = []

    def kill_one() -> None:
        """The worker process that the first training belongs to, and what became of the training."""
        while len(trainings := list(out.glob("check/*/pid"))) < 2 or not all(each.read_text() for each in trainings):
            time.sleep(0.02)
        training = int(trainings[0].read_text())
        parent = int(Path(f"/proc/{training}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        while Path(f"/proc/{training}/cmdline").exists() and Path(f"/proc/{training}/cmdline").read_bytes():
            time.sleep(0.02)
        killed.append(training)
        (out / "wait").unlink()

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    assert run(tmp_path, "--processes", "2") == 0
    killer.join()
    printed = capsys.readouterr()
    assert killed
    assert len([line for line in calls(sweep_of(tmp_path, grid_of(tmp_path))) if "mode 1" in line]) == 5
    assert printed.out.count("\n") == 2 + 4  # four models, all scored
    assert "dashboard: http://127.0.0.1:" in printed.err
    assert (out / "results.md").read_text() == printed.out
    assert (out / "results.png").read_bytes().startswith(b"\x89PNG")
    assert run(tmp_path) == 0
    assert capsys.readouterr().out == printed.out
    assert len(calls(sweep_of(tmp_path, grid_of(tmp_path)))) == 5 + 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "status", "group"), [("SIGTERM", 143, False), ("SIGHUP", 129, False), ("SIGINT", 130, True)]
)
def test_a_signal_ends_a_sweep_and_all_its_trainings_with_one_line(
    name: str, status: int, group: bool, tmp_path: Path
) -> None:
    """Ctrl-C reaches workers and trainings as well."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "wait").touch()
    grid_of(tmp_path)
    program = tmp_path / "sweep.py"
    run_it = f"sys.exit(main(sys.argv[1:], Path({str(STAND_IN)!r})))"
    program.write_text(
        f"import sys\nfrom pathlib import Path\nfrom scripts.sweep.__main__ import main\n"
        f"if __name__ == '__main__':\n    {run_it}\n"
    )
    words = [str(tmp_path / "small.toml"), "--data_dir", str(CORPUS), "--output", str(out), "--processes", "2"]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # or else the sweep would ignore it as the tests may
    sweep = subprocess.Popen(
        [sys.executable, str(program), *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(trainings := list(out.glob("check/*/pid"))) < 2 or not all(each.read_text() for each in trainings):
        assert sweep.poll() is None
        time.sleep(0.02)
    (os.killpg if group else os.kill)(sweep.pid, signal.Signals[name])
    told = sweep.communicate()[1]
    assert sweep.returncode == status, told
    lines = [line for line in told.splitlines() if not line.startswith("dashboard: ")]
    assert lines == ["scripts.sweep: stopped; the same command continues"], told
    for training in trainings:
        while Path(f"/proc/{training.read_text()}/cmdline").exists():  # ends with its worker
            time.sleep(0.02)


@pytest.mark.slow
def test_a_model_that_fails_is_named_and_the_others_go_on() -> None:
    with open_workers(Place(1)) as client:
        found = dict(outcomes(client, _odd, [1, 2, 3]))
    assert (found[1], found[3]) == (1, 3)
    assert isinstance(found[2], UserError) and "2 is even" in str(found[2])


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise UserError(f"{number} is even")
    return number


@pytest.mark.slow
def test_a_scheduler_s_workers_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_workers(Place(1)) as other:
        address = str(other.scheduler_info()["address"])
        with open_workers(Place(scheduler=address)) as client:
            assert dict(outcomes(client, abs, [-3])) == {-3: 3}
        assert other.submit(abs, -1).result() == 1  # it is not ours to end
    monkeypatch.setattr(cluster, "SCHEDULER_SECONDS", 0.2)
    with (
        pytest.raises(UserError, match="argument --scheduler: no Dask scheduler answers"),
        open_workers(Place(scheduler=address)),
    ):
        pass


SBATCH = """#!/usr/bin/env bash
cp "$1" {folder}/job
setsid bash "$1" >/dev/null 2>&1 & echo $! >>{folder}/pids
echo "Submitted batch job 4123$(wc -l <{folder}/pids)"
"""
SCANCEL = """#!/usr/bin/env bash
echo "$*" >>{folder}/cancelled
for job in "$@"; do kill -- -"$(sed -n "${{job#4123}}p" {folder}/pids)"; done
"""


@pytest.mark.slow
@pytest.mark.skipif("TEST_SLURM" not in os.environ, reason="goes by the clock; TEST_SLURM=1 runs it on a quiet machine")
def test_jobs_of_slurm_do_the_work_are_replaced_when_they_end_and_end_with_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (tmp_path / name).write_text(text.format(folder=tmp_path))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with open_workers(Place(slurm=1, slurm_options="--partition=gpu --gpus=1")) as client:
        assert dict(outcomes(client, abs, [-3, 4])) == {-3: 3, 4: 4}
        os.killpg(int((tmp_path / "pids").read_text()), signal.SIGKILL)  # as Slurm does at the time limit
        assert dict(outcomes(client, abs, [-5])) == {-5: 5}
    job = (tmp_path / "job").read_text()
    for line in ("#SBATCH --partition=gpu", "#SBATCH --gpus=1", "#SBATCH -t 24:00:00", "#SBATCH --cpus-per-task=4"):
        assert line in job.splitlines()
    assert "41232" in (tmp_path / "cancelled").read_text().split()


def scored(run: Path, stage: str = "greedy", **changes: Any) -> Scored:
    labels = {"seed": changes.pop("seed", "0"), "method": "CQ"}
    scores = {"kbps": 9.0, "pesq_wb": 3.0, "stoi": 0.9, "si_sdr": 8.0, "snr": 9.0} | changes
    return Scored(Point("cq", labels, {"target_kbps": "9"}, 9.0), stage, run, scores)


@pytest.mark.slow
def test_the_table_has_means_over_seeds_and_how_far_they_lie_apart(tmp_path: Path) -> None:
    from kinds.samples.front_end import lsf_codebook

    models = []
    for seed, pesq in enumerate((3.0, 3.2)):
        run = tmp_path / "check" / f"run{seed}"
        stage = run / "stages" / "first"
        stage.mkdir(parents=True)
        np.savez(stage / "model.npz", **{CODEBOOK: lsf_codebook(), "table/lpc": np.ones(7)})  # type: ignore[arg-type]
        (tmp_path / "doc").mkdir(exist_ok=True)
        (tmp_path / "doc" / f"run{seed}.jsonl").write_text('{"event": "validated", "gap_codec_1": 0.02}\n')
        models.append(scored(run, pesq_wb=pesq, seed=str(seed)))
    grid = Grid({}, repeat="seed", details=True, curves=["method"])
    lines = document(grid, models).splitlines()
    assert len(lines) == 3
    row = dict(zip(*([each.strip() for each in line.split("|")] for line in (lines[0], lines[2])), strict=True))
    assert (row["PESQ-WB"], row["seeds"], row["method"]) == ("3.100 ±0.141", "2", "CQ")
    assert (row["LSF levels moved"], row["parameters"], row["soft-hard gap"]) == (
        "0.000 ±0.000",
        "256",
        "0.0200 ±0.0000",
    )
    draw(replace(grid, published=True), models, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_levels_are_counted_in_their_own_steps(tmp_path: Path) -> None:
    from kinds.samples.front_end import lsf_codebook

    stage = tmp_path / "stages" / "first"
    stage.mkdir(parents=True)
    levels = lsf_codebook().reshape(16, 16)
    steps = np.diff(levels, axis=1).mean(axis=1, keepdims=True)
    np.savez(stage / "model.npz", **{CODEBOOK: (levels + steps / 2).reshape(-1)})
    assert moved_levels(tmp_path) == pytest.approx(0.5, rel=1e-4)
    assert parameters(tmp_path) == 256
