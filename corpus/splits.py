"""Splits that share no speaker: those that a corpus has, or speakers drawn by a seed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from corpus.manifest import MANIFEST
from corpus.speech_file import SpeechFile
from nsc.errors import UserError

SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
TEST_SHARE = 0.12  # of the speakers, where the corpus has no split of its own
VALIDATION_SHARE = 0.08  # of the speakers

TIMIT_FILE = re.compile(r"(?:^|/)(train|test)/dr[1-8]/([^/]+)/[^/]+$", re.IGNORECASE)
LIBRISPEECH_FILE = re.compile(r"(\d+)/(\d+)/\1-\2-\d+\.[^/]+$")
# Folders of LibriSpeech, VCTK and TIMIT that hold speakers, or a speaker's recordings, without being one.
CONTAINER = re.compile(r"wavs?|wav\d+.*|flac|audio|dr[1-8]|(train|dev|val|test)(-(clean|other)(-\d+)?)?", re.IGNORECASE)


def split_speech(
    paths: Sequence[Path], data_dir: Path, *, seed: int, validation_speakers: int | None
) -> list[SpeechFile]:
    """Give each recording of a folder its speaker and split.

    The folder's own splits are kept: TIMIT's, or folders train, test and perhaps val; without val, validation speakers
    are held out of train. Speakers of other folders are split by the seed.

    Raises:
        UserError: too few speakers, or recordings in no speaker's folder.
    """
    own = own_splits(paths, data_dir)
    if not own:
        return _seeded_splits(paths, data_dir, seed, validation_speakers)
    if any(file.split == "val" for file in own):
        return own
    speakers = {file.speaker for file in own if file.split == "train"}
    held_out = _validation_speakers(speakers, data_dir, seed, validation_speakers)
    return [replace(file, split="val") if file.split == "train" and file.speaker in held_out else file for file in own]


def own_splits(paths: Sequence[Path], data_dir: Path) -> list[SpeechFile]:
    """The recordings of a corpus that has splits of its own, TIMIT or folders train and test; of other ones none."""
    return _timit_files(paths) or _sorted_files(paths, data_dir)


def _timit_files(paths: Sequence[Path]) -> list[SpeechFile]:
    # The folder's own name and its parents' count: TIMIT/TRAIN/DR1 may be given itself.
    matches = {path: TIMIT_FILE.search(path.absolute().as_posix()) for path in paths}
    files = [SpeechFile(path, match[2].upper(), match[1].lower()) for path, match in matches.items() if match]
    return files if {file.split for file in files} == {"train", "test"} else []


def _sorted_files(paths: Sequence[Path], data_dir: Path) -> list[SpeechFile]:
    folders = {path: path.relative_to(data_dir).parts[0] for path in paths}
    splits = {path: SPLIT_FOLDERS.get(name.lower(), "") for path, name in folders.items()}
    if "" in splits.values() or not {"train", "test"} <= set(splits.values()):
        return []
    # recordings in no speaker's folder count as one speaker's
    return [
        SpeechFile(path, speaker_of(path, data_dir / folders[path]) or f"{split} speaker", split)
        for path, split in splits.items()
    ]


def _seeded_splits(
    paths: Sequence[Path], data_dir: Path, seed: int, validation_speakers: int | None
) -> list[SpeechFile]:
    """A folder per speaker, split by a seed: about 80 % of the speakers train, 8 % validate, 12 % test."""
    speakers_of = {path: speaker_of(path, data_dir) for path in paths}
    loose = [path for path, speaker in speakers_of.items() if not speaker]
    if loose:
        raise UserError(
            f"{data_dir}: expected a folder per speaker, found {loose[0].name} in none; "
            f"sort the files into folders or list them in {MANIFEST} with path,speaker,split"
        )
    speakers = _shuffled(set(speakers_of.values()), seed)
    num_val = _validation_count(len(speakers), validation_speakers)
    num_test = max(1, round(TEST_SHARE * len(speakers)))
    if num_val + num_test >= len(speakers):
        raise UserError(
            f"{data_dir}: expected at least {num_val + num_test + 1} speakers for disjoint splits, found "
            f"{len(speakers)}; give a folder per speaker or a {MANIFEST} with path,speaker,split"
        )
    split_of = dict.fromkeys(speakers, "train")
    split_of |= dict.fromkeys(speakers[:num_val], "val")
    split_of |= dict.fromkeys(speakers[num_val : num_val + num_test], "test")
    return [SpeechFile(path, speaker, split_of[speaker]) for path, speaker in speakers_of.items()]


def speaker_of(path: Path, data_dir: Path) -> str:
    """The folder that names the speaker: below the last container, or else the first that is none, or else ''."""
    librispeech = LIBRISPEECH_FILE.search(path.absolute().as_posix())
    if librispeech:
        return librispeech[1]
    folders = path.relative_to(data_dir).parts[:-1]
    inside = [name for above, name in itertools.pairwise(folders) if CONTAINER.fullmatch(above)]
    own = [name for name in inside[::-1] + list(folders) if not CONTAINER.fullmatch(name)]
    return own[0] if own else ""


def _validation_speakers(speakers: set[str], data_dir: Path, seed: int, wanted: int | None) -> set[str]:
    count = _validation_count(len(speakers), wanted)
    if count >= len(speakers):
        raise UserError(
            f"{data_dir}: expected more than {count} speakers in train, found {len(speakers)}; add speakers, each"
            " in a folder of their own, or a folder val"
        )
    return set(_shuffled(speakers, seed)[:count])


def _validation_count(num_speakers: int, wanted: int | None) -> int:
    if wanted is not None and wanted < 1:
        raise UserError(f"expected at least 1 validation speaker, found {wanted}; ask for 1 or more")
    return wanted or max(1, round(VALIDATION_SHARE * num_speakers))


def _shuffled(speakers: Iterable[str], seed: int) -> list[str]:
    return [str(name) for name in np.random.Generator(np.random.PCG64(seed)).permutation(sorted(speakers))]


def check_disjoint(files: Iterable[SpeechFile]) -> None:
    """Raise UserError where a speaker is in two splits."""
    split_of: dict[str, str] = {}
    for file in files:
        split = split_of.setdefault(file.speaker, file.split)
        if split != file.split:
            raise UserError(
                f"expected each speaker in one split, found {file.speaker} in {split} and {file.split} "
                f"({file.path}); move all recordings of {file.speaker} into one split"
            )
