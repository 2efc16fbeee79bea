"""Splits that share no speaker: those that a corpus has, or speakers drawn by a seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from corpus.layouts import MIXTURE, TIMIT_FILE, speaker_of, split_folder
from corpus.manifest import MANIFEST, common_voice_files
from corpus.speech_file import SpeechFile
from nsc.console import log
from nsc.errors import UserError

TEST_SHARE = 0.12  # of the speakers, where the corpus has no split of its own
VALIDATION_SHARE = 0.08  # of the speakers
MOST_NAMED = 5  # speakers that a message lists


def split_speech(
    paths: Sequence[Path], data_dir: Path, *, seed: int, validation_speakers: int | None
) -> list[SpeechFile]:
    """Give each recording of a folder its speaker and split.

    The folder's own splits are kept: TIMIT's, Common Voice's tables, or folders such as train, test and perhaps val;
    without val, validation speakers are held out of train. Speakers of other folders are split by the seed.

    Raises:
        UserError: too few speakers, recordings in no speaker's folder, or of several speakers at once.
    """
    mixture = next((path for path in paths if MIXTURE.search(path.as_posix())), None)
    if mixture:
        raise UserError(
            f"{data_dir}: expected one speaker in a recording, found mixtures such as {mixture.name}; give --data_dir"
            " the speech that they were mixed from"
        )
    own = own_splits(paths, data_dir)
    if not own:
        return _seeded_splits(paths, data_dir, seed, validation_speakers)
    if any(file.split == "val" for file in own):
        return own
    speakers = {file.speaker for file in own if file.split == "train"}
    held_out = _validation_speakers(speakers, data_dir, seed, validation_speakers)
    return [replace(file, split="val") if file.split == "train" and file.speaker in held_out else file for file in own]


def own_splits(paths: Sequence[Path], data_dir: Path) -> list[SpeechFile]:
    """The recordings of a corpus that has splits of its own: TIMIT, Common Voice or folders; of other ones none."""
    return _timit_files(paths) or common_voice_files(paths) or _sorted_files(paths, data_dir)


def _timit_files(paths: Sequence[Path]) -> list[SpeechFile]:
    # The folder's own name and its parents' count: TIMIT/TRAIN/DR1 may be given itself.
    matches = {path: TIMIT_FILE.search(path.absolute().as_posix()) for path in paths}
    files = [SpeechFile(path, match[2].upper(), match[1].lower()) for path, match in matches.items() if match]
    return files if {file.split for file in files} == {"train", "test"} else []


def _sorted_files(paths: Sequence[Path], data_dir: Path) -> list[SpeechFile]:
    """Those of a corpus with folders train and test, wherever they lie; without train, dev is it (VoxCeleb)."""
    folders = {path: split_folder(path, data_dir) for path in paths}
    splits = {folder.split for folder in folders.values() if folder}
    if None in folders.values() or "test" not in splits or len(splits) < 2:
        return []
    speakers = {path: speaker_of(path, folder.path) for path, folder in folders.items() if folder}
    if "" in speakers.values() and len({folder.path.parent for folder in folders.values() if folder}) > 1:
        return []  # folders train and test of every speaker
    renamed = {} if "train" in splits else {"val": "train"}
    # recordings in no speaker's folder count as one speaker's
    return [
        SpeechFile(path, speakers[path] or f"{folder.split} speaker", renamed.get(folder.split, folder.split))
        for path, folder in folders.items()
        if folder
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
    named = _named(speakers)
    num_val = _validation_count(len(speakers), validation_speakers)
    num_test = max(1, round(TEST_SHARE * len(speakers)))
    if num_val + num_test >= len(speakers):
        raise UserError(
            f"{data_dir}: expected at least {num_val + num_test + 1} speakers for disjoint splits, found "
            f"{len(speakers)} ({named}); give --data_dir the folder above the speakers, or a {MANIFEST} with"
            " path,speaker,split"
        )
    log.info("%s has no splits of its own; taken for its %d speakers: %s", data_dir, len(speakers), named)
    split_of = dict.fromkeys(speakers, "train")
    split_of |= dict.fromkeys(speakers[:num_val], "val")
    split_of |= dict.fromkeys(speakers[num_val : num_val + num_test], "test")
    return [SpeechFile(path, speaker, split_of[speaker]) for path, speaker in speakers_of.items()]


def _named(speakers: Iterable[str]) -> str:
    names = sorted(speakers)
    return ", ".join(names[:MOST_NAMED]) + (" ..." if len(names) > MOST_NAMED else "")


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
