"""Small corpora of speech, written for a test."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from corpus.speech_file import SpeechFile

Clips = list[NDArray[np.int16]]


def varied(clips: Clips) -> Iterator[NDArray[np.int16]]:
    """Clips without end, none of which comes twice at the same length."""
    for turn in itertools.count():
        yield from (clip[: len(clip) - 800 * turn] for clip in clips)


def write_clip(path: Path, samples: NDArray[np.int16], rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # libsndfile would take the format from the name, and SA1.WAV.wav is RIFF like any other.
    format_name = {".flac": "FLAC", ".ogg": "OGG"}.get(path.suffix.lower(), "WAV")
    soundfile.write(path, samples, rate, format=format_name)
    return path


def names(files: Sequence[SpeechFile], folder: Path) -> list[str]:
    return [file.path.relative_to(folder).as_posix() for file in files]


def splits_of(files: Sequence[SpeechFile]) -> dict[str, set[str]]:
    return {split: {file.speaker for file in files if file.split == split} for split in ("train", "val", "test")}


def speakers_are_disjoint(files: Sequence[SpeechFile]) -> bool:
    splits = splits_of(files)
    return sum(map(len, splits.values())) == len(set().union(*splits.values()))


def plain_corpus(folder: Path, clips: Clips, speakers: int) -> Path:
    for number, clip in zip(range(speakers), varied(clips), strict=False):
        write_clip(folder / f"speaker{number}" / "first.wav", clip)
    return folder
