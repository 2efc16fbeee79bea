"""Turns a finished run into a model that ships: nsc/pretrained/NAME, without checkpoints and places of a machine.

python -m scripts.release_model RUN_ID --name mymodel
python -m scripts.score_pretrained mymodel --data_dir SPEECH --write    then writes its card
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from corpus.manifest import MANIFEST
from corpus.shard_manifest import is_packed
from export.codec_folder import write_codec
from nsc.console import exit_status
from nsc.errors import UserError
from options.config import from_dict
from runs.heard import BASE, CONFIG, ENVIRONMENT, SPLITS
from runs.runs import SHIPPED, Journal, Run, find_run
from runs.saved_model import load_model, release_model, saved_config
from runs.stages import stage_folders
from utilities import atomic_write

ROOT = SHIPPED.parents[1]
JOURNAL, HISTORY = "journal.jsonl", "history.json"
KEPT_EVENTS = ("run", "stage", "resumed", "validated", "exported", "finished")


def release(run: Run, name: str, check_dir: Path, doc_dir: Path) -> Path:
    """Writes the last stage of a run and what is known of its training and of those before it; returns its folder.

    Raises:
        UserError: the name is taken, the speech was a packed corpus, or the run's records are not there.
    """
    target = SHIPPED / name
    if target.exists():
        raise UserError(f"expected a new name, found {target}; remove it first, or choose another")
    stage = list(stage_folders(run.folder).values())[-1]
    data_dir = Path(saved_config(stage).data_dir)
    if is_packed(data_dir):
        raise UserError(f"expected a run on plain speech, found the packed corpus {data_dir}; train on plain speech")
    corpus = place_of(data_dir)
    digest = release_model(stage, target, corpus)
    released = Run(name, target, "finished", run.fingerprint, run.created)
    released.write_record(CONFIG, saved_config(target / stage.relative_to(run.folder)).identity())
    history = runs_before(run, check_dir)
    configs = [config for each in history for config in configs_of(each, corpus)]
    released.write_record(HISTORY, configs)
    rows: list[dict[str, Any]] = run.read_record(SPLITS)
    splits = [row | {"path": path_in_corpus(Path(row["path"]), data_dir)} for row in rows]
    released.write_record(SPLITS, without_repeats(splits))
    released.write_record(ENVIRONMENT, run.read_record(ENVIRONMENT))
    events = [event for each in history for event in with_losses(Journal.read(journal_of(each, doc_dir)))]
    kept = [json.dumps(event) for event in events if event["event"] in KEPT_EVENTS]
    atomic_write(target / JOURNAL, "\n".join(kept) + "\n")
    write_codec(load_model(target / stage.relative_to(run.folder)), target, name)
    released.finish()
    print(f"{target}: stage {stage.name}, model {digest}, {_megabytes(target):.2f} MB")
    return target


def place_of(data_dir: Path) -> str:
    """What a released model says of where its speech lay: the path in the project, or else the folder's name alone."""
    inside = os.path.relpath(data_dir, ROOT)
    return Path(os.path.abspath(data_dir)).name if inside.split(os.sep)[0] == os.pardir else inside


def path_in_corpus(path: Path, data_dir: Path) -> str:
    """The path of a recording in its corpus: `data_dir`, or the one whose recordings the manifest there lists, too.

    Raises:
        UserError: it lies in neither.
    """
    path = path.resolve()
    for folder in (data_dir.resolve(), *(parent for parent in path.parents if (parent / MANIFEST).is_file())):
        if path.is_relative_to(folder):
            return str(path.relative_to(folder))
    raise UserError(
        f"{path}: expected a recording in {data_dir} or under a {MANIFEST}, found it elsewhere; list it there"
    )


def is_released(run: Run) -> bool:
    """Whether a run is a model that ships, or a copy of one: it brings its own history and journal."""
    return (run.folder / HISTORY).is_file()


def runs_before(run: Run, check_dir: Path) -> list[Run]:
    """The runs that a run's weights come from, in order, itself the last; the first may be a model that ships."""
    base = "" if is_released(run) else run.read_record(CONFIG)["base_model_id"]
    return [*(runs_before(find_run(base, check_dir), check_dir) if base else []), run]


def configs_of(run: Run, corpus: str) -> list[dict[str, Any]]:
    """The configuration of a run on `corpus`, or those of all the runs that a model that ships comes from."""
    if is_released(run):
        return list(run.read_record(HISTORY))
    return [from_dict(run.read_record(CONFIG), origin=str(run.folder)).identity() | {"data_dir": corpus}]


def journal_of(run: Run, doc_dir: Path) -> Path:
    """Where the events of a run are."""
    return run.folder / JOURNAL if is_released(run) else doc_dir / f"{run.folder.name}.jsonl"


def with_losses(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events of a journal, each validation with the mean loss of the readings since the one before it."""
    found, losses = [], []
    for event in events:
        if event["event"] == "step":
            losses.append(event["loss"])
        elif event["event"] == "validated" and losses:
            event, losses = event | {"loss": sum(losses) / len(losses)}, []
        found.append(event)
    return found


def without_repeats(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The files of a run, but for those of its base that it was trained on once more."""
    heard = {row["path"] for row in rows if row["split"] not in (BASE, "test")}
    return [row for row in rows if row["split"] != BASE or row["path"] not in heard]


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def main() -> int:
    """Releases one run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="id of a finished run, or its beginning")
    parser.add_argument("--name", required=True, help="id of the model that ships")
    parser.add_argument("--check_dir", type=Path, default=Path("check"), help="folder of runs (default check)")
    parser.add_argument("--doc_dir", type=Path, default=Path("doc"), help="folder of journals (default doc)")
    options = parser.parse_args()

    def work() -> None:
        release(find_run(options.run, options.check_dir), options.name, options.check_dir, options.doc_dir)

    return exit_status("release_model.py", work)


if __name__ == "__main__":
    sys.exit(main())
