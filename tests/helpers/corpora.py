"""Small corpora of speech, written for a test."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from corpus.speech_file import SpeechFile

Clips = list[NDArray[np.int16]]


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
    for number in range(speakers):
        write_clip(folder / f"speaker{number}" / "first.wav", clips[number % len(clips)])
    return folder
