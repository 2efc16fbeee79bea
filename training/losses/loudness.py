"""Perceptual loss: the difference in loudness of Bark bands."""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from constants import SAMPLE_RATE

WINDOWS: Final = {512: 48, 256: 24, 128: 24}  # samples: bands
LISTENING_LEVEL: Final = 79.0  # dB SPL of a signal of unit RMS, as in ITU-T P.862
LOWEST_HZ: Final = 50.0
EXPONENT: Final = 0.23  # Zwicker's, of loudness over power
MASKED: Final = 0.25  # share of the softer loudness by which two may differ unheard
ABSENT: Final = 0.1  # loudness that counts as none next to added loudness


def loudness_loss(target: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """The mean of `loudness_losses` over a batch, float32 scalar."""
    return tf.reduce_mean(loudness_losses(target, decoded))


def loudness_losses(target: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """The audible difference in loudness of Bark bands, much as ITU-T P.862 counts it.

    Of what differs by more than a quarter of the softer loudness the rest is a disturbance. Loudness where there was
    none counts up to twice, since it is perceived as separate noise. The square is averaged over bands, time and three
    window lengths, so that the worst moments count most.

    Args:
        target: float32 [batch, samples], speech near unit RMS.
        decoded: float32 [batch, samples].

    Returns:
        float32 [batch], in squared units of loudness.
    """
    losses = []
    for window, bands in WINDOWS.items():
        wanted, found = loudness(target, window, bands), loudness(decoded, window, bands)
        heard = tf.maximum(tf.abs(found - wanted) - MASKED * tf.minimum(found, wanted), 0.0)
        added = tf.where(found > wanted, 1.0 - tf.exp(-heard / (wanted + ABSENT)), 0.0)
        losses.append(tf.reduce_mean(tf.square(heard * (1.0 + added)), [1, 2]))
    return tf.add_n(losses) / len(losses)


def loudness(signals: tf.Tensor, window: int, bands: int) -> tf.Tensor:
    """Specific loudness (Zwicker) of Hann-windowed pieces at half-window hops, 0 under the threshold in quiet.

    The first and the last piece reach beyond the signal by half of their length or more, so that its ends count.

    Args:
        signals: float32 [batch, samples], unit RMS heard at 79 dB SPL.
        window: samples of a piece.
        bands: number of bands, equally wide on the Bark scale from 50 Hz to 8 kHz.

    Returns:
        float32 [batch, 2 samples / window + 1 (rounded up), bands].
    """
    hann = np.hanning(window + 1)[:window].astype(np.float32)
    hop = window // 2
    padded = tf.pad(signals, [[0, 0], [hop, hop + -signals.shape[-1] % hop]])
    halves = tf.reshape(padded, [-1, padded.shape[-1] // hop, hop])
    spectrum = tf.signal.rfft(tf.concat([halves[:, :-1], halves[:, 1:]], axis=-1) * hann)
    scale = 2 / (window * float(np.sum(hann**2))) * 10 ** (LISTENING_LEVEL / 10)
    power = scale * (tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum)))
    quiet = threshold_in_quiet(bands)
    return zwicker_loudness(tf.matmul(power, bark_filterbank(window, bands)) / quiet, quiet, EXPONENT)


def zwicker_loudness(over: tf.Tensor, quiet: NDArray[np.float32], exponent: NDArray[np.float32] | float) -> tf.Tensor:
    """Loudness of bands by Zwicker's law, of power over that of the threshold in quiet; 0 under it."""
    return (quiet / 0.5) ** exponent * (tf.maximum(0.5 + 0.5 * over, 1.0) ** exponent - 1.0)


@functools.cache
def bark_filterbank(window: int, bands: int) -> NDArray[np.float32]:
    """Rectangular bands, equally wide in Bark; a bin that two bands touch is shared.

    Returns:
        Weights float32 [window / 2 + 1, bands], read-only.
    """
    top = window // 2
    edges = hertz(_band_edges(bands)) * window / SAMPLE_RATE  # in bins
    bins = np.arange(top + 1)[:, None]
    lower, upper = np.maximum(bins - 0.5, 0), np.minimum(bins + 0.5, top)
    bank = np.clip(np.minimum(upper, edges[1:]) - np.maximum(lower, edges[:-1]), 0, None).astype(np.float32)
    bank.flags.writeable = False
    return bank


@functools.cache
def threshold_in_quiet(bands: int) -> NDArray[np.float32]:
    """The power, 1 at 0 dB SPL, at which a tone amid each of the bands begins to be heard (Terhardt, 1979)."""
    edges = _band_edges(bands)
    centres = hertz((edges[1:] + edges[:-1]) / 2) / 1000
    decibels = 3.64 * centres**-0.8 - 6.5 * np.exp(-0.6 * (centres - 3.3) ** 2) + 1e-3 * centres**4
    return (10 ** (decibels / 10)).astype(np.float32)


def bark(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Critical-band rate of frequencies in Hz (Traunmueller, 1990)."""
    return 26.81 * frequency / (1960 + frequency) - 0.53


def hertz(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frequencies in Hz of critical-band rates, the inverse of `bark`."""
    return 1960 * (rate + 0.53) / (26.28 - rate)


def _band_edges(bands: int) -> NDArray[np.float64]:
    lowest, highest = bark(np.array([LOWEST_HZ, SAMPLE_RATE / 2]))
    return np.linspace(lowest, highest, bands + 1)
