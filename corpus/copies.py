"""Copies of one recording in two splits: the same words said once, in another room, through noise or processed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from constants import SAMPLE_RATE
from corpus.speech_file import SpeechFile
from nsc.errors import UserError
from nsc.recording import Recording, open_recording
from utilities import load_speech

MOST_LENGTHS: Final = 200  # pairs of the same name whose lengths are compared
MOST_CONTOURS: Final = 24  # of the same length, whose levels are
SAME_SECONDS: Final = 0.01  # by which the lengths of copies differ at most
STEP: Final = SAMPLE_RATE // 50  # samples of a point of a contour
LAGS: Final = 10  # points by which a copy may come later
LEAST_POINTS: Final = 25
# Correlations of contours: of 1,300 pairs of sentences as long as each other 99.9 % lie below 0.80, 99 % below 0.73 and
# the median at 0.40; copies with as much noise as speech lie above 0.96, in a room of 1 s reverberation about 0.83.
COPY, MEDIAN_OF_COPIES = 0.9, 0.7


def check_copies(files: Iterable[SpeechFile]) -> None:
    """Raises UserError where recordings of two speakers in different splits are copies of each other.

    Corpora whose outer folders are rooms, microphones or mixtures hold every recording under each of them, by the same
    name but for the folder's. Some pairs of the same name are compared: first their lengths, which no two people
    reading the same sentence have alike, then the contours of their levels.
    """
    pairs = [pair for pair in _evenly(_namesakes(files), MOST_LENGTHS) if _are_as_long(*pair)][:MOST_CONTOURS]
    found = [(_likeness(one, other), one, other) for one, other in pairs]
    if not found:
        return
    likeness, one, other = max(found, key=lambda each: each[0])
    if likeness > COPY or (len(found) > 1 and float(np.median([each[0] for each in found])) > MEDIAN_OF_COPIES):
        raise UserError(
            f"expected every recording in one split, found copies of one in {one.split} ({one.path}) and {other.split}"
            f" ({other.path}); '{one.speaker}' and '{other.speaker}' seem to be no speakers: give --data_dir a folder"
            " with one kind of copies, or a manifest.csv with path,speaker,split"
        )


def _namesakes(files: Iterable[SpeechFile]) -> list[tuple[SpeechFile, SpeechFile]]:
    """Pairs of recordings of the same name, but for their speakers' names in it, in different splits."""
    first: dict[str, SpeechFile] = {}
    pairs: dict[str, tuple[SpeechFile, SpeechFile]] = {}
    for file in files:
        name = file.path.stem.lower().replace(file.speaker.lower(), "").strip("-_. ")
        other = first.setdefault(name, file)
        if other.split != file.split:
            pairs.setdefault(name, (other, file))
    return list(pairs.values())


def _evenly(pairs: Sequence[tuple[SpeechFile, SpeechFile]], most: int) -> Iterable[tuple[SpeechFile, SpeechFile]]:
    return itertools.islice(pairs, 0, None, -(-len(pairs) // most) or 1)


def _are_as_long(one: SpeechFile, other: SpeechFile) -> bool:
    try:
        seconds = [_seconds(open_recording(file.path, str(file.path))) for file in (one, other)]
    except UserError:
        return False  # packing says why
    return abs(seconds[0] - seconds[1]) <= SAME_SECONDS


def _seconds(recording: Recording) -> float:
    return recording.num_frames / recording.rate


def _likeness(one: SpeechFile, other: SpeechFile) -> float:
    """The largest correlation of two recordings' contours at any lag."""
    try:
        contour, others = _contour(one.path), _contour(other.path)
    except UserError:
        return 0.0
    return max(_correlation(contour, others, lag) for lag in range(-LAGS, LAGS + 1))


def _contour(path: Path) -> NDArray[np.float64]:
    samples = load_speech(path).astype(np.float64)
    pieces = samples[: len(samples) // STEP * STEP].reshape(-1, STEP)
    return np.sqrt(np.square(pieces).mean(1))


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64], lag: int) -> float:
    one, other = one[max(0, lag) :], other[max(0, -lag) :]
    length = min(len(one), len(other))
    one, other = one[:length] - one[:length].mean(), other[:length] - other[:length].mean()
    power = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / power if length >= LEAST_POINTS and power > 0 else 0.0
