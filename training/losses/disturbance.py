"""Perceptual loss of a stretch of speech: the disturbances of ITU-T P.862, in which what a codec adds counts most.

The numbers of this module are those of the standard at 16 kHz (P.862, 2001, and P.862.2, 2007). What it has no need of
in training is missing: the alignments of time and of spectrum, and the search for bad intervals.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy import signal

from training.losses.loudness import EXPONENT, MASKED, zwicker_loudness


def _numbers(text: str) -> NDArray[np.float64]:
    return np.array(text.split(), np.float64)


WINDOW: Final = 512  # samples of a piece, 32 ms
# The 48 bands from 16 Hz: bins of the spectrum, power relative to that of a bin, width in Bark, threshold in dB SPL.
BINS: Final = _numbers(
    "1 1 1 1 1 1 1 2 1 1 1 1 1 2 1 1 2 2 2 2 2 2 2 2 3 3 3 3 4 3 4 5 4 5 6 6 7 8 9 9 12 12 15 16 18 21 25 20"
).astype(int)
POWER: Final = _numbers(
    "1.000 1.000 1.000 1.000 1.000 1.000 1.000 0.500 1.000 1.000 1.000 1.000 1.000 0.530 1.100 1.180 "
    "0.650 0.688 0.700 0.714 0.750 0.768 0.810 0.886 0.639 0.682 0.725 0.756 0.584 0.810 0.641 0.544 "
    "0.738 0.644 0.592 0.655 0.614 0.581 0.570 0.641 0.543 0.611 0.551 0.568 0.556 0.531 0.550 0.795"
)
WIDTHS: Final = _numbers(
    "0.318 0.322 0.327 0.331 0.336 0.341 0.345 0.350 0.355 0.360 0.365 0.370 0.375 0.380 0.385 0.390 "
    "0.395 0.400 0.406 0.411 0.416 0.422 0.427 0.433 0.439 0.444 0.450 0.456 0.462 0.468 0.474 0.480 "
    "0.486 0.492 0.498 0.504 0.511 0.517 0.524 0.530 0.537 0.544 0.550 0.557 0.564 0.571 0.578 0.585"
)
THRESHOLDS: Final = _numbers(
    "63.9 48.5 36.9 30.7 25.9 20.2 16.6 12.5 9.9 6.9 4.9 2.8 1.0 -0.1 -1.4 -2.5 "
    "-3.4 -4.1 -4.8 -5.3 -5.7 -5.9 -6.0 -6.0 -6.0 -6.0 -5.8 -5.4 -5.1 -4.7 -4.3 -4.0 "
    "-3.6 -3.3 -3.1 -3.0 -3.0 -2.9 -2.8 -2.8 -2.8 -2.9 -3.2 -3.7 -4.3 -4.4 -3.8 -2.7"
)
QUIET: Final = (10 ** (THRESHOLDS / 10)).astype(np.float32)  # power at the threshold
LOWEST_WIDTH: Final = 0.157  # Bark, of the band at 0 Hz, which nobody hears
AMPLITUDE: Final = 6000.0  # of unit RMS, which the loudest 0.32 s of a stretch have about, in P.862's samples
PIECE_POWER: Final = 6.91e-4  # of a bin at such an amplitude: a tone of 1 kHz at 40 dB SPL has 10,000, unfiltered
# What listeners hear of wideband speech (P.862.2): a high-pass at 70 Hz, which amplifies all above by 9 dB.
HEARD: Final = 2.740826 * np.array([1.0, -2.0, 1.0]), np.array([1.0, -1.9444777, 0.94597794])
LOUDNESS: Final = 0.1866
GAIN_POWER, GAIN_MOST = 5e3, 1.25  # power that counts as none, and the most by which that of a piece is corrected
INAUDIBLE: Final = 50.0  # power that hides an addition to a band
ADDED_POWER, ADDED_FROM, ADDED_MOST = 1.2, 2.75, 12.0  # weight of an addition, and the least and greatest that counts
ADDED_SOFTNESS: Final = 0.35  # P.862 has a step near `ADDED_FROM`, which has no gradient
SYLLABLE, SYLLABLE_POWER = 20, 6.0  # pieces in 0.32 s, of which the worst count most
SOFT_POWER, USUAL_POWER, LEVEL_POWER = 1e5, 1e7, 0.04  # soft pieces count somewhat more
LARGEST: Final = 45.0  # disturbance of a piece
SYMMETRIC, ASYMMETRIC = 0.1, 0.0309  # points that a unit of each disturbance takes off the raw score
FLOOR: Final = 1e-3  # disturbance that counts as none: keeps roots and their gradients finite


def disturbance_losses(target: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """Squared points that P.862 would take off the raw score of aligned speech.

    Args:
        target: float32 [batch, samples], speech near unit RMS.
        decoded: float32 [batch, samples].

    Returns:
        float32 [batch].
    """
    wanted, found = band_power(target), band_power(decoded)
    total = _audible(wanted)
    found *= tf.clip_by_value((total + GAIN_POWER) / (_audible(found) + GAIN_POWER), 1 / GAIN_MOST, GAIN_MOST)
    disturbance = _disturbance(wanted, found) * WIDTHS.astype(np.float32)
    added = tf.maximum(disturbance, 0.0) * _weight_of_added(wanted, found)
    weight = ((tf.squeeze(total, -1) + SOFT_POWER) / USUAL_POWER) ** LEVEL_POWER
    bandwidth = float(np.sum(WIDTHS))
    symmetric = tf.sqrt(bandwidth * tf.reduce_sum(tf.square(disturbance), -1) + FLOOR**2) / weight
    asymmetric = tf.reduce_sum(added, -1) / weight
    return tf.square(SYMMETRIC * _over_time(symmetric) + ASYMMETRIC * _over_time(asymmetric))


def band_power(signals: tf.Tensor) -> tf.Tensor:
    """Power in the bands of Hann-windowed pieces at half-window hops, those that lie whole in the signal.

    Args:
        signals: float32 [batch, samples], near unit RMS.

    Returns:
        float32 [batch, 2 samples / 512 - 1 (rounded down), 48], 1 at 0 dB SPL.
    """
    hann = np.hanning(WINDOW + 1)[:WINDOW].astype(np.float32)
    spectrum = tf.signal.rfft(tf.signal.frame(AMPLITUDE * signals, WINDOW, WINDOW // 2) * hann)
    power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
    return tf.matmul(power, _bank())


@functools.cache
def _bank() -> NDArray[np.float32]:
    """Weights [257, 48] of the bins in each band."""
    bins = np.arange(1, 1 + sum(BINS))
    _, heard = signal.freqz(*HEARD, worN=2 * np.pi * bins / WINDOW)
    bank = np.zeros((WINDOW // 2 + 1, len(BINS)), np.float32)
    bank[bins, np.repeat(np.arange(len(BINS)), BINS)] = PIECE_POWER * np.repeat(POWER, BINS) * np.abs(heard) ** 2
    return bank


def specific_loudness(power: tf.Tensor) -> tf.Tensor:
    """Loudness of bands [..., 48] by Zwicker's law, 0 under the threshold in quiet, float32 of the same shape."""
    centres = LOWEST_WIDTH + np.cumsum(WIDTHS) - WIDTHS / 2
    exponent = (EXPONENT * np.clip(6 / (centres + 2), 1, 2) ** 0.15).astype(np.float32)  # more below 4 Bark
    return LOUDNESS * zwicker_loudness(power / QUIET, QUIET, exponent)


def _audible(power: tf.Tensor) -> tf.Tensor:
    """Power of all bands above their threshold, [batch, pieces, 1]."""
    return tf.reduce_sum(tf.where(power > QUIET, power, 0.0), -1, keepdims=True)


def _disturbance(wanted: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Difference of loudness beyond what is masked, positive where something was added."""
    wanted, found = specific_loudness(wanted), specific_loudness(found)
    difference = found - wanted
    return tf.sign(difference) * tf.maximum(tf.abs(difference) - MASKED * tf.minimum(found, wanted), 0.0)


def _weight_of_added(wanted: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Factor of the asymmetric disturbance: none up to 4 dB more power, then 3 to 12."""
    ratio = tf.minimum(((found + INAUDIBLE) / (wanted + INAUDIBLE)) ** ADDED_POWER, ADDED_MOST)
    return ratio * tf.sigmoid((ratio - ADDED_FROM) / ADDED_SOFTNESS)


def _over_time(disturbance: tf.Tensor) -> tf.Tensor:
    """[batch, pieces] -> [batch]: sixth power's mean in syllables that overlap by half, root mean square of these."""
    length = min(SYLLABLE, disturbance.shape[-1])
    syllables = tf.signal.frame(tf.minimum(disturbance, LARGEST) + FLOOR, length, SYLLABLE // 2)
    worst = tf.reduce_mean(syllables**SYLLABLE_POWER, -1) ** (1 / SYLLABLE_POWER)
    return tf.sqrt(tf.reduce_mean(tf.square(worst), -1))
