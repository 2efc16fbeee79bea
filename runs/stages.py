"""Saved models by name: a folder, a hash, a run or a stage of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from nsc.errors import UserError
from nsc.loading.find import DEFAULT_MODEL
from runs.runs import SHIPPED, find_run

ARRAYS, DESCRIPTION = "model.npz", "model.json"
STAGES = "stages"


def find_model(name: str, check_dir: Path) -> Path:
    """The folder of a saved model.

    Args:
        name: the folder itself or that of a run, the model's hash, or a run's id or the beginning of one, with /STAGE
            after it or not. What ships with the project is found, too; '' is the default of it.
        check_dir: folder of runs.

    Raises:
        UserError: there is no such model.
    """
    name = name or DEFAULT_MODEL
    if (Path(name) / DESCRIPTION).is_file():
        return Path(name)
    own = stage_folders(Path(name))
    if own:
        return list(own.values())[-1]
    for folder, digest in _known_models(check_dir):
        if digest == name:
            return folder
    run_name, _, stage = name.partition("/")
    run = find_run(run_name, check_dir)
    stages = stage_folders(run.folder)
    if not stages or (stage and stage not in stages):
        raise UserError(f"expected a stage of run {run.id}, found '{stage}'; it has {', '.join(stages) or 'none yet'}")
    return stages[stage or list(stages)[-1]]


def stage_folders(run_folder: Path) -> dict[str, Path]:
    """The finished stages of a run by name, in the order in which they were trained."""
    names = {path.parent.name: path.parent for path in (run_folder / STAGES).glob(f"*/{DESCRIPTION}")}
    return {name: names[name] for name in sorted(names, key=_stage_order)}


def _stage_order(name: str) -> tuple[int, int, str]:
    # the tenth follower comes after the ninth
    return ({"first": 0, "finetune": 2}.get(name, 1), len(name), name)


def _known_models(check_dir: Path) -> Iterator[tuple[Path, str]]:
    files = [file for folder in (check_dir, SHIPPED) for file in sorted(folder.glob(f"*/{STAGES}/*/{DESCRIPTION}"))]
    for file in files:
        try:
            yield file.parent, str(json.loads(file.read_text())["sha256"])[:8]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
