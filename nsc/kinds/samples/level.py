"""Gain indices of groups of speech, uniform in decibels."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nsc.format.version_1 import FRAMES_PER_GROUP, GAIN_LEVELS, GROUP_LENGTH, number_of_frames

GAIN_STEP_DB: Final = 1.5
GAIN_FLOOR_DB: Final = -90.0  # dB relative to full scale, the level of index 0
GAIN_DECAY_DB: Final = 6.0  # largest fall of the gain from one group to the next: pauses stay quiet

FloatArray = NDArray[np.floating]


def group_levels(signal: FloatArray, mode: str = "group") -> NDArray[np.uint8]:
    """Gain index of each group of 16 frames, samples [7680 g, 7680 (g + 1)), from it and the past only.

    Args:
        signal: samples [n], full scale 1.
        mode: 'group' takes each group's RMS, falling by at most GAIN_DECAY_DB a group so that a pause
            stays quiet; 'utterance' takes the standard deviation of the whole signal for all groups.

    Returns:
        Indices [ceil(number_of_frames(n) / 16)] in steps of GAIN_STEP_DB above GAIN_FLOOR_DB.
    """
    num_groups = -(-number_of_frames(len(signal)) // FRAMES_PER_GROUP)
    if mode == "utterance":
        variance = float(np.var(signal, dtype=np.float64)) if len(signal) else 0.0
        return level_indices(np.full(num_groups, _decibels(variance)))
    if mode == "group":
        return level_indices(_decaying_levels(np.split(signal, np.arange(1, num_groups) * GROUP_LENGTH)))
    raise ValueError(f"gain mode must be 'group' or 'utterance', not {mode!r}")


def level_indices(levels: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Gain index of each level in dB."""
    steps = np.rint((levels - GAIN_FLOOR_DB) / GAIN_STEP_DB)
    return np.clip(steps, 0, GAIN_LEVELS - 1).astype(np.uint8)


def group_level(group: FloatArray, before: float) -> float:
    """Level in dB of a group of samples, at most GAIN_DECAY_DB below the level before it (-inf at the start)."""
    power = float(np.mean(np.square(group, dtype=np.float64))) if len(group) else 0.0
    return max(_decibels(power), before - GAIN_DECAY_DB)


def _decaying_levels(groups: list[FloatArray]) -> NDArray[np.float64]:
    levels = np.empty(len(groups))
    before = -np.inf
    for g, group in enumerate(groups):
        levels[g] = before = group_level(group, before)
    return levels


def _decibels(power: float) -> float:
    return max(GAIN_FLOOR_DB, 10 * np.log10(power)) if power > 0 else GAIN_FLOOR_DB


def gains_of(indices: NDArray[np.integer]) -> NDArray[np.float32]:
    """Linear gain of each gain index, same shape: the amplitude that a frame is divided by before coding."""
    levels = GAIN_FLOOR_DB + GAIN_STEP_DB * np.asarray(indices, np.float64)
    return (10 ** (levels / 20)).astype(np.float32)


def frame_gains(indices: NDArray[np.integer], num_frames: int) -> NDArray[np.float32]:
    """Linear gain [num_frames] of each frame from the indices [ceil(num_frames / 16)] of its groups."""
    return gains_of(np.repeat(indices, FRAMES_PER_GROUP)[:num_frames])
