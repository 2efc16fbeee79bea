"""Normalising level and step offset of a group of frames: format version 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nsc.constants import SAMPLE_RATE
from nsc.entropy.packet_side import GroupSteps
from nsc.format.version_2 import LEVELS, OFFSETS
from nsc.kinds.samples.level import GAIN_FLOOR_DB, GAIN_STEP_DB, gains_of
from nsc.kinds.spectral.pitch import BLOCK, HISTORY, pitch_of

MEMORY_SECONDS: Final = 1.0  # of voiced sound, of which the loudest frame gives the level
VOICED: Final = 0.8  # correlation along the pitch from which on a frame is voiced; noise of rooms stays below
ONSET_DB: Final = 15.0  # above the softest frame of the last FLOOR_SECONDS: counts as voiced, as whispering does
FLOOR_SECONDS: Final = 1.5
NEAR_DB: Final = 10.0  # of the level
START_DB: Final = -30.0  # of full scale, before the first voiced frame: noise ahead of the first word is soft
OFFSET_STEP: Final = 1 / 32  # of the natural logarithm of the step: 0.27 dB
ZERO_OFFSET: Final = 40  # index of the offset 0; smaller ones make finer steps


class LevelMeter:
    """Levels of a stream in dB of full scale, frame by frame, from the frame and the past only.

    The level is that of the loudest frame of the last second of sound that stands out: so it hardly moves within a
    sentence, and stays where it is in a pause, whose noise is coded relative to the speech.
    """

    def __init__(self, frame_samples: int) -> None:
        """Starts before the stream's first frame of so many new samples."""
        frames_per_second = SAMPLE_RATE / frame_samples
        self._remembered = round(MEMORY_SECONDS * frames_per_second)
        self._looked_back = round(FLOOR_SECONDS * frames_per_second)
        self._recent: list[float] = []
        self._voiced: list[float] = []
        self._past = np.zeros(HISTORY + BLOCK + 1, np.float32)

    def frame(self, samples: NDArray[np.floating]) -> float:
        """The level after one more frame [n]."""
        power = decibels(samples)
        self._past = np.concatenate([self._past, samples], dtype=np.float32)[-len(self._past) :]
        if power > GAIN_FLOOR_DB:  # what follows digital silence need not be speech
            self._recent = [*self._recent, power][-self._looked_back :]
            is_loud = power > min(min(self._recent) + ONSET_DB, max(self._voiced, default=START_DB) - NEAR_DB)
            if is_loud or self._is_voiced():
                self._voiced = [*self._voiced, power][-self._remembered :]
        return max(self._voiced, default=START_DB)

    def _is_voiced(self) -> bool:
        differences = np.diff(self._past)  # without the rumble of rooms, which correlates as well
        return bool(pitch_of(differences).correlations[0] > VOICED)


def decibels(samples: NDArray[np.floating]) -> float:
    """Level of samples [n] in dB of full scale."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return max(10 * math.log10(power), GAIN_FLOOR_DB) if power > 0 else GAIN_FLOOR_DB


def level_index(levels: Sequence[float]) -> int:
    """The level of a group, the highest of its frames', as an index of GAIN_STEP_DB above GAIN_FLOOR_DB."""
    return int(np.clip(np.rint((np.max(levels) - GAIN_FLOOR_DB) / GAIN_STEP_DB), 0, LEVELS - 1))


def group_level_indices(signal: NDArray[np.floating], frames: int, frame_samples: int, group: int) -> NDArray[np.uint8]:
    """Level index of each group of `group` frames of a signal [n] of so many frames, uint8 [ceil(frames / group)]."""
    meter = LevelMeter(frame_samples)
    starts = range(0, frames * frame_samples, frame_samples)
    levels = [meter.frame(signal[start : start + frame_samples]) for start in starts]
    return np.array([level_index(levels[first : first + group]) for first in range(0, frames, group)], np.uint8)


def offset_of(index: int) -> float:
    """The offset of the natural logarithm of the step, from -1.25 to 1.75."""
    return OFFSET_STEP * (index - ZERO_OFFSET)


def offset_index(offset: float) -> int:
    """Index of the nearest offset that a file can carry."""
    return int(np.clip(round(offset / OFFSET_STEP) + ZERO_OFFSET, 0, OFFSETS - 1))


class StepTrack:
    """Levels and offsets of the spectra of the past, as networks are given them."""

    def __init__(self, frames: int, spectra_per_frame: int) -> None:
        """Remembers so many frames, of which there are none yet."""
        self._per_frame = spectra_per_frame
        self._kept = spectra_per_frame * frames
        self._steps = np.zeros((2, 0), np.float32)

    def append(self, steps: GroupSteps, frames: int) -> None:
        """Takes the frames of a group."""
        self._steps = np.concatenate([self._steps, _columns(steps, self._per_frame * frames)], 1)
        self._steps = self._steps[:, max(0, self._steps.shape[1] - self._kept) :]

    def with_group(self, steps: GroupSteps, frames: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Levels and offsets [spectra] of the past and of so many frames of a group; before all groups, the group's."""
        missing = self._kept - self._steps.shape[1]
        own = self._per_frame * frames
        levels, offsets = np.concatenate([_columns(steps, missing), self._steps, _columns(steps, own)], 1)
        return levels, offsets


@lru_cache(maxsize=64)
def _columns(steps: GroupSteps, spectra: int) -> NDArray[np.float32]:
    values = np.array([[gains_of(np.array(steps.level))], [offset_of(steps.offset)]], np.float32)
    return np.repeat(values, spectra, 1)
