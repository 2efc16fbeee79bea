"""Loss on the energies of bands in windows of 4 and 10 ms, which the windows of P.862 (32 ms) cannot tell apart."""

from __future__ import annotations

import functools
import math
from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# Samples of a window, and the bins between which its bands lie: 250 Hz and 200 Hz wide at first, then wider and wider.
WINDOWS: Final = {
    64: (0, 1, 2, 3, 4, 6, 8, 11, 14, 18, 23, 28, 33),
    160: (0, 2, 4, 6, 8, 11, 14, 18, 23, 29, 36, 45, 56, 68, 81),
}
OVERLAP: Final = 4  # windows that cover a sample
SPEECH: Final = 1e-3  # of the loudest window's power: 30 dB under it a window does not count
FLOOR: Final = 1e-5  # of the same: power that counts as none in a band
UNIT_DB: Final = 10.0  # error that costs 1


def short_window_losses(target: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """Mean absolute error of the log energies of bands in short windows of speech.

    Smearing inside a frame, pitch pulses that are filled up and onsets that begin early cost here; so does a band that
    is too soft or too loud, both alike.

    Args:
        target: float32 [batch, samples].
        decoded: float32 [batch, samples].

    Returns:
        float32 [batch], in units of 10 dB.
    """
    return tf.add_n([_losses(target, decoded, window) for window in WINDOWS]) / len(WINDOWS)


def _losses(target: tf.Tensor, decoded: tf.Tensor, window: int) -> tf.Tensor:
    wanted, found = _energies(target, window), _energies(decoded, window)
    power = tf.reduce_sum(wanted, -1)
    loudest = tf.reduce_max(power, 1, keepdims=True)
    floor = FLOOR * loudest[..., None] + tf.keras.backend.epsilon()
    errors = tf.abs(tf.math.log((found + floor) / (wanted + floor))) * (10 / math.log(10) / UNIT_DB)
    counts = tf.cast(power > SPEECH * loudest, tf.float32)
    return tf.reduce_sum(counts * tf.reduce_mean(errors, -1), 1) / tf.maximum(tf.reduce_sum(counts, 1), 1.0)


def _energies(signals: tf.Tensor, window: int) -> tf.Tensor:
    """Mean power of the bins of each band in Hann windows, float32 [batch, windows, bands]."""
    spectra = tf.signal.stft(signals, window, window // OVERLAP, window)
    return tf.matmul(tf.square(tf.math.real(spectra)) + tf.square(tf.math.imag(spectra)), _bank(window))


@functools.cache
def _bank(window: int) -> NDArray[np.float32]:
    """Weights [bins, bands] of the bins in each band."""
    edges = np.array(WINDOWS[window])
    bins = np.arange(window // 2 + 1)[:, None]
    inside = (bins >= edges[:-1]) & (bins < edges[1:])
    return (inside / np.diff(edges)).astype(np.float32)
