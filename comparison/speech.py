"""Speech for a comparison: a corpus's test speakers, none of whom a model was trained on."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from comparison.coders import ModelCoder
from comparison.results import Recording
from corpus.find import find_speech, find_test_speech
from corpus.manifest import MANIFEST
from corpus.speech_file import SpeechFile, spread
from nsc.console import log
from nsc.errors import UserError
from runs.heard import SPLITS, heard_among
from runs.runs import find_run

PARTS = ("kind", "language")  # columns of a manifest
TIMIT_SPEAKER = re.compile(r"([FM])[A-Z]{3}\d", re.IGNORECASE)


def speech_to_test(data_dir: Path, files_per_speaker: int = 0, split: str = "test") -> list[SpeechFile]:
    """Recordings of the speakers of a split, evenly spread over each speaker's, sorted by path.

    Args:
        data_dir: as `corpus.find.find_test_speech` takes it.
        files_per_speaker: at most so many; 0 for all.
        split: train, val or test.

    Raises:
        UserError: there is no speech.
    """
    by_speaker: defaultdict[str, list[SpeechFile]] = defaultdict(list)
    for file in _of_split(data_dir, split):
        by_speaker[file.speaker].append(file)
    chosen = [file for files in by_speaker.values() for file in spread(files, files_per_speaker)]
    return sorted(chosen, key=lambda file: file.path)


def _of_split(data_dir: Path, split: str) -> list[SpeechFile]:
    if split == "test":
        return find_test_speech(data_dir)
    files = [file for file in find_speech(data_dir) if file.split == split]
    if not files:
        raise UserError(f"{data_dir}: expected recordings of split {split}, found none; choose another split")
    return files


def groups_of(files: Sequence[SpeechFile], data_dir: Path, columns: Sequence[str]) -> dict[str, list[SpeechFile]]:
    """Files apart by what columns of the manifest say, such as kind and language; all of them under '' without any."""
    listed = _manifest_rows(data_dir / MANIFEST)
    groups: defaultdict[str, list[SpeechFile]] = defaultdict(list)
    for file in files:
        groups[_part(listed.get(file.path, {}), columns)].append(file)
    return dict(sorted(groups.items()))


def recordings_of(files: Sequence[SpeechFile], data_dir: Path) -> list[Recording]:
    """Recordings with what a manifest says of them: sex of the speaker (a TIMIT name tells it too), kind, language."""
    rows = _manifest_rows(data_dir / MANIFEST)
    return [_recording(file, rows.get(file.path, {})) for file in files]


def _recording(file: SpeechFile, row: Mapping[str, str]) -> Recording:
    sex = (row.get("sex") or "").strip().upper()[:1] or _timit_sex(file.speaker)
    return Recording(file.path, file.speaker, sex, _part(row, PARTS))


def _part(row: Mapping[str, str], columns: Sequence[str]) -> str:
    return ", ".join(row[column] for column in columns if row.get(column))


def _manifest_rows(manifest: Path) -> dict[Path, dict[str, str]]:
    """Rows by the path of their file; none where there is no manifest."""
    if not manifest.is_file():
        return {}
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        return {manifest.parent / row["path"]: row for row in csv.DictReader(file)}


def _timit_sex(speaker: str) -> str:
    found = TIMIT_SPEAKER.fullmatch(speaker)
    return found[1].upper() if found else ""


def refuse_overlap(model: ModelCoder, files: Sequence[SpeechFile], corpus: Path, *, allowed: bool) -> None:
    """Refuses to test a model on its training speech, or reports it where that is allowed.

    Raises:
        UserError: it was trained on some of the files or on their speakers, or its training files are not known.
    """
    reason = _overlap(model, files, corpus)
    if reason and not allowed:
        raise UserError(f"{reason}; give other speech, or --allow_overlap to test nevertheless")
    if reason:
        log.info("scores of %s are not those of unheard speech: %s", model.codec.label, reason)


def _overlap(model: ModelCoder, files: Sequence[SpeechFile], corpus: Path) -> str:
    run_folder = model.folder.resolve().parent.parent
    if not (run_folder / SPLITS).is_file():
        return f"expected the training files of {model.folder} in {run_folder / SPLITS}, found none"
    known = heard_among(files, find_run(run_folder.name, run_folder.parent), corpus)
    if not known:
        return ""
    return (
        f"{model.codec.origin} was trained on {len(known)} of the {len(files)} test files of {corpus} or on their"
        f" speakers, such as {known[0].speaker} in {known[0].path}"
    )
