"""Normalising level and step offset of a group of frames: format version 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nsc.constants import SAMPLE_RATE
from nsc.entropy.packet_side import GroupSteps
from nsc.format.version_2 import LEVELS, OFFSETS
from nsc.kinds.samples.level import GAIN_FLOOR_DB, GAIN_STEP_DB, gains_of

MEMORY: Final = 8  # frames over which power is averaged: 0.32 s at frames of 40 ms
ONSET_SHARE: Final = 0.25  # of a frame's own power, which counts where it is above that average
DECAY_DB_PER_SECOND: Final = 4.0  # by which the level falls at most: pauses stay soft
START_DB: Final = -50.0  # of full scale, before the first frame: so does noise ahead of the first word
OFFSET_STEP: Final = 1 / 32  # of the natural logarithm of the step: 0.27 dB
ZERO_OFFSET: Final = 40  # index of the offset 0; smaller ones make finer steps


class LevelMeter:
    """Levels of a stream in dB of full scale, frame by frame, from the frame and the past only."""

    def __init__(self, frame_samples: int) -> None:
        """Starts before the stream's first frame of so many new samples."""
        self._fall = DECAY_DB_PER_SECOND * frame_samples / SAMPLE_RATE
        self._powers: list[float] = []
        self._level = START_DB

    def frame(self, samples: NDArray[np.floating]) -> float:
        """The level after one more frame [n]."""
        power = _power(samples)
        self._powers = [*self._powers, power][-MEMORY:]
        loudness = max(float(np.mean(self._powers)), power * ONSET_SHARE)
        self._level = max(_decibels(loudness), self._level - self._fall)
        return self._level


def decibels(samples: NDArray[np.floating]) -> float:
    """Level of samples [n] in dB of full scale."""
    return _decibels(_power(samples))


def _power(samples: NDArray[np.floating]) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def _decibels(power: float) -> float:
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


def _columns(steps: GroupSteps, spectra: int) -> NDArray[np.float32]:
    values = np.array([[gains_of(np.array(steps.level))], [offset_of(steps.offset)]], np.float32)
    return np.repeat(values, spectra, 1)
