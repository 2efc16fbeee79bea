"""Trains, finetunes and scores every model of a grid, on one machine or many.

python -m scripts.sweep configs/sweeps/ablation.toml --data_dir SPEECH --set seed='0 1' -- --steps_per_epoch 700

The output folder gets `results.md`, `results.png`, all models, and what each training printed in `logs`. What follows
`--` goes to main.py and overrides the grid. Models are trained by --processes of this machine, by the workers of a Dask
scheduler, or by jobs of Slurm. A training whose worker dies continues on another; stopped, the same command continues.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from comparison.cluster import add_flags, open_workers, outcomes, place_of
from nsc import console
from nsc.console import Parser
from options.config import parse_flags
from runs.machine import import_tensorflow
from scripts.sweep.grid import read_grid
from scripts.sweep.points import MAIN, Scored, Sweep
from scripts.sweep.table import document, draw
from utilities import atomic_write

if TYPE_CHECKING:
    from distributed import Client


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="scripts.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("grid", type=Path, help="TOML file, such as those in configs/sweeps")
    made.add_argument("--data_dir", type=Path, required=True, help="speech to train and to score on")
    made.add_argument("--output", type=Path, help="folder of models and scores (default the grid's name)")
    made.add_argument("--set", action="append", default=[], metavar="AXIS='VALUES'", help="other values for an axis")
    made.add_argument("--max_files", type=int, default=0, help="test files, evenly spread (default 0: all)")
    made.add_argument("--dry_run", action="store_true", help="print the trainings and an estimate of hours, and stop")
    add_flags(made, processes=1)
    return made


def main(arguments: Sequence[str], program: Path = MAIN) -> int:
    """Trains by `program`; returns the exit status: 1 where models are missing at the end."""
    console.show_own_lines()
    own, flags = _split(arguments)
    return console.exit_status(
        "scripts.sweep", lambda: _run(parser().parse_args(own), flags, program), "stopped; the same command continues"
    )


def _split(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """What is before the first --, and what after it."""
    place = [*arguments, "--"].index("--")
    return list(arguments[:place]), tuple(arguments[place + 1 :])


def _run(options: argparse.Namespace, flags: tuple[str, ...], program: Path) -> int:
    place = place_of(options)
    sweep = replace(_sweep_of(options, flags), program=program)
    points = list(sweep.grid.points())
    for point in points:
        parse_flags(sweep.flags_of(point))  # a mistake shows before the first training
    if options.dry_run:
        from scripts.sweep.hours import dry_run

        import_tensorflow()
        print(dry_run(sweep, points))
        return 0
    with open_workers(place) as client:
        models = _train(sweep, client)
    _print(sweep, models)
    return 1 if {point.name for point in points} - {model.point.name for model in models} else 0


def _sweep_of(options: argparse.Namespace, flags: tuple[str, ...]) -> Sweep:
    grid = read_grid(options.grid)
    for setting in options.set:
        grid = grid.with_axis(setting)
    output = (options.output or Path(grid.name)).resolve()
    data_dir = corpus_of(options.data_dir.resolve(), output) if grid.timit_split else options.data_dir.resolve()
    return Sweep(grid, output, data_dir, options.max_files, flags)


def _train(sweep: Sweep, client: Client) -> list[Scored]:
    """Every model that could be trained; the others are named."""
    models: list[Scored] = []
    starts: dict[tuple[str, ...], float] = {}  # targets that met the rate, by what repetitions have in common
    rounds = sweep.grid.rounds()
    with tqdm(total=sum(map(len, rounds)), desc="sweep", unit="model", disable=None) as progress:
        for points in rounds:
            aimed = [replace(point, start=starts.get(sweep.grid.apart(point), 0.0)) for point in points]
            for point, found in outcomes(client, sweep.train, aimed):
                progress.update()
                if isinstance(found, Exception):
                    console.log.info("not trained by now: %s: %s", point.name, found)
                    continue
                models += found
                starts.setdefault(sweep.grid.apart(point), found[-1].point.start)
                _report(sweep, models)
    return models


def _in_order(sweep: Sweep, models: Sequence[Scored]) -> list[Scored]:
    """As the grid has them, not as they came."""
    places = {point.name: place for place, point in enumerate(sweep.grid.points())}
    return sorted(models, key=lambda each: places[each.point.name])


def _report(sweep: Sweep, models: Sequence[Scored]) -> None:
    if sweep.grid.evaluate:
        rows = _in_order(sweep, models)
        atomic_write(sweep.output / "results.md", document(sweep.grid, rows))
        draw(sweep.grid, rows, sweep.output / "results.png")


def _print(sweep: Sweep, models: Sequence[Scored]) -> None:
    """The table; or LABEL=ID of the last stage of each model, as report.py takes them."""
    rows = _in_order(sweep, models)
    if sweep.grid.evaluate:
        print(document(sweep.grid, rows), end="")
        return
    last = {model.point.name: model for model in rows}
    for model in last.values():
        label = sweep.grid.label.format(**model.point.labels)
        print(f"{label}={model.id}" if label else model.id)


def corpus_of(data_dir: Path, output: Path) -> Path:
    """The folder to train on: a TIMIT tree's own manifest of 300 and 50 speakers, or the folder itself."""
    from corpus.find import find_speech
    from corpus.shard_manifest import is_packed
    from corpus.splits import TIMIT_FILE
    from scripts.speech.timit_split import write_split

    if is_packed(data_dir) or (data_dir / "manifest.csv").is_file():
        return data_dir
    files = find_speech(data_dir)
    if not all(TIMIT_FILE.search(file.path.absolute().as_posix()) for file in files):
        return data_dir
    return write_split(data_dir, output / "timit_300_50").parent


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also in the background
    sys.exit(main(sys.argv[1:]))
