"""Search for the recordings of a corpus, whatever kind of folder holds them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from corpus.copies import check_copies
from corpus.layouts import speaker_of
from corpus.manifest import MANIFEST, speech_of_manifest
from corpus.shard_manifest import is_packed, read_shards
from corpus.speech_file import SpeechFile
from corpus.splits import check_disjoint, own_splits, split_speech
from nsc.errors import UserError
from nsc.recording import FFMPEG_SUFFIXES, SNDFILE_SUFFIXES

SUFFIXES: Final = tuple(dict.fromkeys([*SNDFILE_SUFFIXES, *FFMPEG_SUFFIXES]))
# Leftovers of macOS, Synology and Windows; names that begin with a dot are hidden anyway.
LEFTOVERS: Final = frozenset(
    ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found")
)
TIMIT_SA_FILE = re.compile(r"(?:^|/)dr[1-8][/-][^/]+/sa[12]\.[^/]+$", re.IGNORECASE)  # dr1/fcjf0, or nltk's dr1-fvmh0


def find_speech(
    data_dir: str | Path, *, sa_sentences: bool = True, seed: int = 0, validation_speakers: int | None = None
) -> list[SpeechFile]:
    """List the recordings of a corpus with splits that share no speaker, sorted by path.

    Args:
        data_dir: a folder with manifest.csv (path, speaker, split), a TIMIT tree, Common Voice with its tables, folders
            train, test and perhaps val, or a folder of audio files with a folder per speaker; docs/data.md lists the
            corpora that are known as they are. Of a packed corpus, whose splits were chosen when it was packed, the
            recordings held out, and for the training speech its shards.
        sa_sentences: TIMIT only: keep SA1 and SA2, which all speakers read.
        seed: chooses the speakers of each split, where the corpus does not.
        validation_speakers: number of validation speakers; by default 8 % of the speakers, at least one.
            A manifest decides for itself.

    Raises:
        UserError: no speech, too few speakers, a manifest with faults, or a speaker or a recording in two splits.
    """
    data_dir = _existing_folder(data_dir)
    if is_packed(data_dir):
        return sorted(_packed_files(data_dir), key=lambda file: file.path)
    if (data_dir / MANIFEST).is_file():
        files = speech_of_manifest(data_dir / MANIFEST)
    else:
        paths = _wanted_paths(data_dir, sa_sentences)
        files = split_speech(paths, data_dir, seed=seed, validation_speakers=validation_speakers)
    check_disjoint(files)
    check_copies(files)
    return sorted(files, key=lambda file: file.path)


def find_test_speech(data_dir: str | Path, *, sa_sentences: bool = True) -> list[SpeechFile]:
    """List what a corpus offers for testing: its own test part, or every recording where it has no splits of its own.

    Args:
        data_dir: as in `find_speech`; recordings in no speaker's folder count as one speaker's.
        sa_sentences: TIMIT only: keep SA1 and SA2.

    Raises:
        UserError: no speech, no test part, or a manifest with faults.
    """
    data_dir = _existing_folder(data_dir)
    has_manifest = is_packed(data_dir) or (data_dir / MANIFEST).is_file()
    paths = [] if has_manifest else _wanted_paths(data_dir, sa_sentences)
    if not has_manifest and not own_splits(paths, data_dir):
        return [SpeechFile(path, speaker_of(path, data_dir) or data_dir.resolve().name, "test") for path in paths]
    files = [file for file in find_speech(data_dir, sa_sentences=sa_sentences) if file.split == "test"]
    if not files:
        raise UserError(
            f"{data_dir}: expected recordings to test on, found none; set split to test for some speakers in {MANIFEST}"
        )
    return files


def _existing_folder(data_dir: str | Path) -> Path:
    if not Path(data_dir).is_dir():
        raise UserError(f"{data_dir}: expected a folder of speech, found none; give --data_dir an existing folder")
    return Path(data_dir).resolve()  # however it is spelled, it is the same speech


def _packed_files(data_dir: Path) -> list[SpeechFile]:
    manifest = read_shards(data_dir)
    held_out = [SpeechFile(Path(path), speaker, split) for path, speaker, split in manifest["held_out"]]
    return held_out + [SpeechFile(data_dir / shard["name"], "", "train") for shard in manifest["shards"]]


def _wanted_paths(data_dir: Path, sa_sentences: bool) -> list[Path]:
    paths = _audio_paths(data_dir)
    return [path for path in paths if sa_sentences or not TIMIT_SA_FILE.search(path.absolute().as_posix())]


def _audio_paths(data_dir: Path) -> list[Path]:
    found = audio_paths(data_dir)
    if not found:
        raise UserError(
            f"{data_dir}: expected wav, flac or ogg files, found none, nor others that can be read; give --data_dir a"
            " folder of speech"
        )
    return found


def audio_paths(folder: Path) -> list[Path]:
    """All audio files below a folder, sorted; of SA1.WAV and its converted copy SA1.WAV.wav only the copy."""
    chosen: dict[str, Path] = {}
    for inside, names in _folders(folder):
        for name in sorted(names, key=len):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                utterance = re.sub(r"(\.wav)+$", "", name, flags=re.IGNORECASE)
                chosen[os.path.join(inside, utterance)] = inside / name
    return sorted(chosen.values())


def _folders(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder once, whatever links lead to it, with the names of its files; real folders before links."""
    seen: set[tuple[int, int]] = set()
    for inside, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(inside)
        if (status.st_dev, status.st_ino) in seen:
            folders[:] = []
            continue
        seen.add((status.st_dev, status.st_ino))
        wanted = [name for name in folders if not name.startswith(".") and name.lower() not in LEFTOVERS]
        folders[:] = sorted(wanted, key=lambda name: (os.path.islink(os.path.join(inside, name)), name))
        yield Path(inside), names
