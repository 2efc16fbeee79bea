"""The level that counts as 1 in a group of frames: slow, from the group and the past only, so that pauses stay soft."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from constants import GAIN_FLOOR_DB, GAIN_LEVELS, GAIN_STEP_DB, SAMPLE_RATE

MEMORY = 8  # frames over which power is averaged: 0.32 s at frames of 40 ms
DECAY_DB_PER_SECOND = 4.0  # by which the level falls at most


class LevelMeter:
    """Levels of a stream in dB of full scale, frame by frame."""

    def __init__(self, frame_samples: int) -> None:
        """Starts before the stream's first frame of so many new samples."""
        self._fall = DECAY_DB_PER_SECOND * frame_samples / SAMPLE_RATE
        self._powers: list[float] = []
        self._level = -np.inf

    def frame(self, samples: NDArray[np.floating]) -> float:
        """The level after one more frame [n]."""
        power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
        self._powers = [*self._powers, power][-MEMORY:]
        mean = float(np.mean(self._powers))
        found = 10 * np.log10(mean) if mean > 0 else GAIN_FLOOR_DB
        self._level = max(found, self._level - self._fall, GAIN_FLOOR_DB)
        return self._level


def level_index(levels: NDArray[np.floating]) -> int:
    """The level of a group, the highest of its frames', as an index of GAIN_STEP_DB above GAIN_FLOOR_DB."""
    return int(np.clip(np.rint((np.max(levels) - GAIN_FLOOR_DB) / GAIN_STEP_DB), 0, GAIN_LEVELS - 1))


def group_level_indices(signal: NDArray[np.floating], frames: int, frame_samples: int, group: int) -> NDArray[np.uint8]:
    """Level index of each group of `group` frames of a signal [n] of so many frames, uint8 [ceil(frames / group)]."""
    meter = LevelMeter(frame_samples)
    levels = np.array([meter.frame(signal[start : start + frame_samples]) for start in _starts(frames, frame_samples)])
    return np.array([level_index(levels[first : first + group]) for first in range(0, frames, group)], np.uint8)


def _starts(frames: int, frame_samples: int) -> range:
    return range(0, frames * frame_samples, frame_samples)
