"""Means over speakers with their 95 % intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from measures.measurement import Signal


class Interval(NamedTuple):
    """A mean over speakers, half the width of its 95 % interval, and how many speakers and nan files."""

    mean: float
    half_width: float
    speakers: int
    left_out: int


def mean_with_interval(values_per_file: Sequence[float], speakers: Sequence[str]) -> Interval:
    """Mean over speakers of each speaker's mean, with its 95 % Student-t interval over speakers.

    Files of one speaker resemble each other, so that an interval over files would be too narrow.

    Args:
        values_per_file: one value per file; NaN values are skipped and counted.
        speakers: the speaker of each file.

    Returns:
        The interval; its half width is nan for a single speaker, its mean too where no value is left.

    Raises:
        ValueError: there are not as many speakers as values.
    """
    by_speaker: defaultdict[str, list[float]] = defaultdict(list)
    left_out = 0
    for value, speaker in zip(values_per_file, speakers, strict=True):
        if math.isnan(value):
            left_out += 1
        else:
            by_speaker[speaker].append(value)
    means = np.array([np.mean(values) for values in by_speaker.values()])
    mean = float(np.mean(means)) if means.size else math.nan
    return Interval(mean, _half_width(means), means.size, left_out)


def _half_width(means: Signal) -> float:
    if means.size < 2 or not np.all(np.isfinite(means)):
        return math.nan
    quantile = scipy.stats.t.ppf(0.975, means.size - 1)
    return float(quantile * np.std(means, ddof=1) / math.sqrt(means.size))
