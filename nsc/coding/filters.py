"""Filters with a memory: high-pass and pre-emphasis ahead of a model, de-emphasis after it."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from nsc.coding.interface import Signal
from nsc.constants import SAMPLE_RATE

PRE_EMPHASIS: Final = 0.68  # coefficient of 1 - 0.68 z^-1, as in AMR-WB
HIGH_PASS_HZ: Final = 50.0  # AMR-WB removes what lies below 50 Hz
# Impulse response of 1 / (1 - 0.68 z^-1); what is omitted is -213 dB.
DE_EMPHASIS: Final = PRE_EMPHASIS ** np.arange(64)


class InputFilter:
    """High-pass and pre-emphasis of a signal in blocks, equal to those of the whole signal."""

    def __init__(self, *, high_pass: bool, pre_emphasis: bool) -> None:
        self._high_pass = HighPass() if high_pass else None
        self._tap = -PRE_EMPHASIS if pre_emphasis else 0.0
        self._last = np.zeros(1)

    def __call__(self, block: Signal) -> Signal:
        """The next samples [n], filtered."""
        if self._high_pass:
            block = self._high_pass(block)
        delayed = np.concatenate([self._last, block])
        self._last = delayed[-1:]
        return (delayed[1:] + self._tap * delayed[:-1]).astype(np.float32)


class HighPass:
    """Second-order Butterworth high-pass at 50 Hz, sample by sample in double precision."""

    def __init__(self) -> None:
        self._numerator, self._denominator = high_pass_coefficients()
        self._state = (0.0, 0.0)

    def __call__(self, block: Signal) -> Signal:
        """The next samples [n], filtered (transposed direct form II)."""
        (b0, b1, b2), (_, a1, a2) = self._numerator, self._denominator
        first, second = self._state
        filtered = []
        for sample in block.tolist():
            output = b0 * sample + first
            first = b1 * sample - a1 * output + second
            second = b2 * sample - a2 * output
            filtered.append(output)
        self._state = first, second
        return np.array(filtered, np.float32)


def high_pass_coefficients() -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Numerator and denominator of the high-pass (bilinear transform of a Butterworth filter)."""
    warped = math.tan(math.pi * HIGH_PASS_HZ / SAMPLE_RATE)
    scale = 1 / (1 + math.sqrt(2) * warped + warped**2)
    denominator = (1.0, 2 * (warped**2 - 1) * scale, (1 - math.sqrt(2) * warped + warped**2) * scale)
    return (scale, -2 * scale, scale), denominator


class DeEmphasis:
    """The filter 1 / (1 - 0.68 z^-1) of a signal in blocks."""

    def __init__(self) -> None:
        self._before = np.zeros(len(DE_EMPHASIS) - 1)

    def __call__(self, block: Signal) -> Signal:
        """The next samples [n], filtered."""
        samples = np.concatenate([self._before, block])
        self._before = samples[len(block) :]
        return np.convolve(samples, DE_EMPHASIS, "valid").astype(np.float32)
