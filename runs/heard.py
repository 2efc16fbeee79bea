"""Speech that a run was trained on, which no test of it may use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corpus.packed import recordings_of
from corpus.speech_file import SpeechFile
from nsc.errors import UserError
from runs.runs import Run

CONFIG, SPLITS, ENVIRONMENT = "config.json", "splits.json", "environment.json"
BASE = "base"  # split of the files that the saved model was trained on, which a run starts from


def heard_among(files: Sequence[SpeechFile], run: Run, corpus: Path) -> list[SpeechFile]:
    """Those files of a corpus that the run was trained on, or whose speakers it was."""
    asked, folder = {file.path.resolve() for file in files}, corpus.resolve()
    paths, speakers = set(), set()
    # one shard after the other: all recordings of a packed corpus may not fit
    for file in (file for line in heard(run, corpus) for file in recordings_of(line)):
        path = file.path.resolve()
        paths |= {path} & asked
        # Another corpus may give its speakers the same names.
        speakers |= {file.speaker} if path.is_relative_to(folder) else set()
    return [file for file in files if file.path.resolve() in paths or file.speaker in speakers]


def heard(run: Run, corpus: Path | None = None) -> list[SpeechFile]:
    """The files that the run was trained on, those of its base included."""
    return [file for file in recorded_files(run, corpus) if file.split != "test"]


def recorded_files(run: Run, corpus: Path | None = None) -> list[SpeechFile]:
    """The files of a run; those of a run that ships are looked for in `corpus`, by default at their original place."""
    folder = Path()
    if run.ships:
        folder = corpus or own_corpus(run)
    files = [SpeechFile(folder / row["path"], row["speaker"], row["split"]) for row in _split_rows(run)]
    return [file for file in files if file.path.is_file()] if run.ships else files


def own_corpus(run: Run) -> Path:
    """Folder of the speech that a run was trained on."""
    config = run.read_record(CONFIG)
    folder = config.get("data_dir") if isinstance(config, dict) else None
    if not isinstance(folder, str):
        raise UserError(f"expected a data_dir in {run.folder / CONFIG}, found none; restore the file")
    return Path(folder)


def _split_rows(run: Run) -> list[dict[str, str]]:
    rows = run.read_record(SPLITS)
    names = ("path", "speaker", "split")
    whole = isinstance(rows, list) and all(
        isinstance(row, dict) and all(isinstance(row.get(name), str) for name in names) for row in rows
    )
    if not whole:
        raise UserError(f"expected rows of path, speaker and split in {run.folder / SPLITS}, found others; restore it")
    return rows
