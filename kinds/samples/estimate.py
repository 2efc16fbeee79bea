"""Training's estimate of the rate of files: the entropy of soft histograms, with all speech in one batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Cascade
from kinds.samples.batch import SIGNAL_BATCH, prepare
from nsc.coding.interface import Signal
from utilities import number_of_frames


class HistogramEstimate:
    """Implements `kinds.kind.Estimate`."""

    def __init__(self, cascade: Cascade) -> None:
        self._cascade = cascade
        self._parts = cascade.parts()
        self._counts = [np.zeros((part.shape[1], part.alphabet)) for part in self._parts]
        self._counted: Signal | None = None

    def add(self, signal: Signal, data: bytes, depth: int) -> Callable[[], float]:
        """Counts the soft assignments of a signal [n] of 16 kHz; its depths come one after the other and count once."""
        if signal is not self._counted:
            self._count(signal)
        self._counted = signal
        side = len(self._parts) - len(self._cascade.codecs)
        frames = number_of_frames(len(signal))
        return lambda: frames * sum(list(self.bits().values())[: side + depth])

    def bits(self) -> dict[str, float]:
        """Bits per frame of each part."""
        pairs = zip(self._parts, self._counts, strict=True)
        return {part.name: part.shape[0] * _entropy(counts) for part, counts in pairs}

    def _count(self, signal: Signal) -> None:
        contexts = prepare(signal, self._cascade.config).contexts
        depth = len(self._cascade.codecs)
        for start in range(0, len(contexts), SIGNAL_BATCH):
            batch = tf.constant(contexts[start : start + SIGNAL_BATCH])
            for counts, found in zip(self._counts, self._cascade.soft_counts(batch, depth), strict=True):
                counts += found.numpy()


def _entropy(counts: NDArray[np.float64]) -> float:
    """Bits of one symbol of every channel, from counts [channels, alphabet]."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.sum(shares * np.log2(np.maximum(shares, 1e-30))))
