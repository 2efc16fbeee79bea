"""Training losses in TensorFlow, and the measures of evaluation, re-exported from `measures.measures`."""

import functools
import math
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from constants import FRAME_LENGTH, SAMPLE_RATE
from measures.intervals import Interval, mean_with_interval
from measures.measures import MEASURES, Measurement, Score, pesq_wb, score, score_files, si_sdr, snr, stoi
from training.losses.replicas import mean_over_replicas

MEL_BANKS: Final = (8, 16, 32, 128)  # bands
SPECTRUM_BINS: Final = FRAME_LENGTH // 2 + 1

# Each floor keeps a root or a logarithm, and its gradient, finite where its argument vanishes.
SQUARED_ERROR_FLOOR: Final = 1e-7
MEL_FLOOR: Final = 1e-7
HISTOGRAM_FLOOR: Final = 1e-7
ASSIGNMENT_FLOOR: Final = 1e-20  # most soft assignments underflow to 0 at alpha -300


def time_loss(target: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """Root mean squared error of each frame, mean over frames.

    Args:
        target: float32 [batch, 512].
        decoded: float32 [batch, 512].

    Returns:
        float32 scalar, in the unit of the samples; its least value is sqrt(1e-7).
    """
    return tf.reduce_mean(_root_mean_squared_error(target, decoded))


def mel_loss(target: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """Root mean squared error of natural-log mel spectra, mean over frames and over the four banks.

    The banks have 8, 16, 32 and 128 bands of the un-windowed 512-point power spectrum / 512.

    Args:
        target: float32 [batch, 512].
        decoded: float32 [batch, 512].

    Returns:
        float32 scalar, in nats; its least value is sqrt(1e-7).
    """
    pairs = zip(_log_mel_spectra(target), _log_mel_spectra(decoded), strict=True)
    return tf.add_n([tf.reduce_mean(_root_mean_squared_error(*pair)) for pair in pairs]) / len(MEL_BANKS)


@functools.cache
def mel_filterbank(bands: int) -> NDArray[np.float32]:
    """Triangular bands of a 512-point spectrum, equally spaced on the HTK mel scale from 0 to 8 kHz.

    A band too narrow to hold a bin of the spectrum (of 128 bands the lowest, at 14 Hz) would be deaf:
    it gets the bin nearest to its centre. No band includes the bin at 0 Hz.

    Args:
        bands: number of bands.

    Returns:
        Weights float32 [257, bands], read-only.
    """
    nyquist = SAMPLE_RATE / 2
    with tf.init_scope():  # a loss under trace needs the weights as numbers, too
        weights = tf.signal.linear_to_mel_weight_matrix(bands, SPECTRUM_BINS, SAMPLE_RATE, 0.0, nyquist, tf.float64)
        bank = weights.numpy()
    for band in np.flatnonzero(np.sum(bank, axis=0) == 0):
        centre = 700 * ((1 + nyquist / 700) ** ((band + 1) / (bands + 1)) - 1)  # Hz
        bank[max(1, round(centre * FRAME_LENGTH / SAMPLE_RATE)), band] = 1
    bank = bank.astype(np.float32)
    bank.flags.writeable = False
    return bank


def quantisation_penalty(assignments: tf.Tensor) -> tf.Tensor:
    """Sum over bins of the square root of soft assignments, mean over codes.

    Its least value, for hard assignments, is 1 and not 0, as in the first implementation: an offset does
    not change what is learned. Its greatest, for equal assignments to all bins, is sqrt(bins).

    Args:
        assignments: float32 [batch, codes, bins], each code's sum 1.

    Returns:
        float32 scalar, no unit.
    """
    return tf.reduce_mean(tf.reduce_sum(tf.sqrt(assignments + ASSIGNMENT_FLOOR), axis=-1))


def assignment_entropy(assignments: tf.Tensor) -> tf.Tensor:
    """Entropy of the global batch's histogram of soft assignments, one histogram per channel, mean over channels.

    Entropies of parts of a batch do not add up to the batch's: replicas put their histograms together first.

    Args:
        assignments: float32 [batch, positions, channels, bins], each symbol's sum 1; this replica's share.

    Returns:
        float32 scalar, bits per symbol, between 0 and log2(bins).
    """
    histogram = mean_over_replicas(tf.reduce_mean(assignments, axis=(0, 1)))
    nats = -tf.reduce_sum(histogram * tf.math.log(histogram + HISTOGRAM_FLOOR), axis=-1)
    return tf.reduce_mean(nats) / math.log(2)


def _root_mean_squared_error(target: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    squared_error = tf.reduce_mean(tf.math.squared_difference(target, decoded), axis=-1)
    return tf.sqrt(squared_error + SQUARED_ERROR_FLOOR)


def _log_mel_spectra(frames: tf.Tensor) -> list[Any]:
    spectrum = tf.signal.rfft(frames)
    # Not abs(): the gradient of a complex modulus is undefined in silence, that of its square is 0.
    power = (tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))) / FRAME_LENGTH
    all_banks = np.concatenate([mel_filterbank(bands) for bands in MEL_BANKS], axis=1)
    return tf.split(tf.math.log(tf.matmul(power, all_banks) + MEL_FLOOR), MEL_BANKS, axis=-1)
