"""Rate honesty: the entropy that training steers by, the ideal code length under the tables, and the payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Cascade
from kinds.samples import batch as feed_forward
from kinds.spectral.cascade import SpectralCascade

LARGEST_GAP = 0.01  # of the payload above the ideal code length; a larger one is a fault of coder or tables
# Of training's estimate above the ideal code length. Contexts save up to 16 %; more tells that training steered by a
# rate that the model's symbols do not have.
LARGEST_EXCESS = 0.3
RED, PLAIN = "\033[31m", "\033[0m"


class NoEstimate:
    """Of models on the lapped spectrum, whose estimates come file by file."""

    def add(self, signal: feed_forward.Signal) -> None:
        """Nothing to count."""

    def bits(self) -> dict[str, float]:
        """Nothing."""
        return {}


def training_estimate(cascade: Cascade | SpectralCascade) -> TrainingEstimate | NoEstimate:
    """What counts training's estimate of the rate over all files."""
    return NoEstimate() if isinstance(cascade, SpectralCascade) else TrainingEstimate(cascade)


class TrainingEstimate:
    """The entropy of soft histograms, as the training loss takes it, with all speech in one batch."""

    def __init__(self, cascade: Cascade) -> None:
        self._cascade = cascade
        self._parts = cascade.parts()
        self._counts = [np.zeros((part.shape[1], part.alphabet)) for part in self._parts]

    def add(self, signal: feed_forward.Signal) -> None:
        """Counts the soft assignments of a signal [n] of 16 kHz."""
        contexts = feed_forward.prepare(signal, self._cascade.config).contexts
        depth = len(self._cascade.codecs)
        for start in range(0, len(contexts), feed_forward.SIGNAL_BATCH):
            batch = tf.constant(contexts[start : start + feed_forward.SIGNAL_BATCH])
            for counts, found in zip(self._counts, self._cascade.soft_counts(batch, depth), strict=True):
                counts += found.numpy()

    def bits(self) -> dict[str, float]:
        """Bits per frame of each part."""
        pairs = zip(self._parts, self._counts, strict=True)
        return {part.name: part.shape[0] * _entropy(counts) for part, counts in pairs}


def _entropy(counts: NDArray[np.float64]) -> float:
    """Bits of one symbol of every channel, from counts [channels, alphabet]."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.sum(shares * np.log2(np.maximum(shares, 1e-30))))


def gap(payload: float, ideal: float) -> float:
    """Relative excess of a payload over its ideal code length."""
    return payload / ideal - 1 if ideal else 0.0


def honesty_line(row: Mapping[str, Any], *, colour: bool) -> str:
    """One depth's rates of LPC and codes side by side.

    Args:
        row: of the summary of an evaluation.
        colour: prints a gap above `LARGEST_GAP` in red; else it is reported in words only.
    """
    found = gap(row["payload_kbps"], row["ideal_kbps"])
    shown = f"{100 * found:+.2f} %, at most {100 * row['largest_gap']:+.2f} % in a file"
    if found > LARGEST_GAP:
        shown += f", more than the {100 * LARGEST_GAP:g} % of a sound coder"
        shown = f"{RED}{shown}{PLAIN}" if colour else shown
    excess = gap(row["training_kbps"], row["ideal_kbps"])
    estimate = "information"
    if excess > LARGEST_EXCESS:
        estimate = f"{100 * excess:.0f} % above the ideal: what tau steered by is not what these symbols cost"
        estimate = f"{RED}{estimate}{PLAIN}" if colour else estimate
    return (
        f"rate honesty, depth {row['depth']}: training's estimate {row['training_kbps']:.2f} ({estimate}),"
        f" ideal code length {row['ideal_kbps']:.2f}, payload {row['payload_kbps']:.2f} kbps ({shown});"
        f" {row['kbps']:.2f} kbps with gain and framing"
    )
