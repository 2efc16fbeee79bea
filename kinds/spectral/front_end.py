"""Spectral envelope for step sizes and probabilities: LPC with a learned LSF codebook, and a gain per spectrum.

A frame of a few spectra (40 ms) has one set of LSFs; its analysis window covers what they cover and no more, so that
linear prediction adds no delay. The envelope is |g / A| at the transform's frequencies, as in transform coded
excitation (3GPP TS 26.445, 5.3.3).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import lpc_utilities as lpc
from kinds.samples.front_end import lsf_codebook
from nn_core_operator import Quantised, SoftToHardQuantizer
from nsc.entropy.spectral_envelope import GAIN_FLOOR_DB, RESPONSE_FLOOR
from nsc.format.version_2 import GAIN_LEVELS, GAIN_STEP_DB
from options.config import Config

DECIBEL = math.log(10) / 20  # natural logarithm of an amplitude's decibel


class Envelope(NamedTuple):
    """The envelope of a batch of signals as a decoder knows it.

    log: float32 [batch, spectra, bins], natural logarithm of a coefficient's expected magnitude.
    lsf: the quantised LSFs, symbols [batch x frames, 1, 16].
    gains: int32 [batch, spectra], indices of GAIN_STEP_DB.
    """

    log: tf.Tensor
    lsf: Quantised
    gains: tf.Tensor


class SpectralEnvelope(keras.layers.Layer):
    """LPC of order 16 and a gain for each spectrum, both quantised."""

    def __init__(self, config: Config) -> None:
        super().__init__(name="lpc")
        self.hop, self.spacing = config.hop, config.lsf_spacing
        self.spectra_per_frame = config.spectra_per_frame
        self.quantizer = SoftToHardQuantizer(
            lsf_codebook(config.lsf_levels),
            config.lsf_alpha_start,
            trainable_codebook=config.train_lsf_codebook,
            trainable_alpha=config.train_lsf_codebook and config.trains_alpha,
        )
        self.window = analysis_window(self.hop, self.spectra_per_frame)
        angles = (np.arange(self.hop) + 0.5) * np.pi / self.hop
        response = np.exp(-1j * np.outer(np.arange(lpc.LPC_ORDER + 1), angles))
        self.real, self.imaginary = response.real.astype(np.float32), response.imag.astype(np.float32)
        self.built = True

    def call(self, signals: tf.Tensor, spectra: tf.Tensor, decision: str = "hard") -> Envelope:
        """Analyses and quantises.

        Args:
            signals: float32 [batch, (spectra + 1) hop].
            spectra: their MDCT [batch, spectra, hop] at unit level, of whole frames.
            decision: of the LSF quantiser, see `SoftToHardQuantizer.call`.
        """
        quantised = self.quantizer(self.line_spectrum(signals)[:, None, :], decision=decision)
        shape = self.log_shape(quantised.decoded[:, 0], tf.shape(spectra)[1])
        gain = gain_position(spectra, shape)
        index = tf.round(gain)
        straight_through = gain + tf.stop_gradient(index - gain)
        return Envelope(shape + tf.expand_dims(log_gain(straight_through), -1), quantised, tf.cast(index, tf.int32))

    def decode(self, lsf: tf.Tensor, gains: tf.Tensor) -> tf.Tensor:
        """The log envelope [batch, spectra, bins] of LSF symbols [batch, frames, 16] and gains [batch, spectra]."""
        values = tf.reshape(tf.gather(self.quantizer.codebook, lsf), [-1, lpc.LPC_ORDER])
        return self.log_shape(values, tf.shape(gains)[1]) + tf.expand_dims(log_gain(tf.cast(gains, tf.float32)), -1)

    def line_spectrum(self, signals: tf.Tensor) -> tf.Tensor:
        """Unquantised LSFs [batch x frames, 16] of signals [batch, (spectra + 1) hop]; no gradient."""
        hops = tf.reshape(signals, [tf.shape(signals)[0], -1, self.hop])
        frame = self.spectra_per_frame
        within = [hops[:, place : place - frame : frame] for place in range(frame)]
        contexts = tf.concat([*within, hops[:, frame::frame]], -1)
        windowed = tf.reshape(contexts * self.window, [-1, (frame + 1) * self.hop])
        return tf.stop_gradient(lpc.polynomial_to_lsf(lpc.levinson_durbin(lpc.autocorrelation(windowed))))

    def log_shape(self, lsf: tf.Tensor, spectra: tf.Tensor) -> tf.Tensor:
        """Log |1 / A|, [batch, spectra, bins], of LSFs [batch x frames, 16] in radians."""
        polynomial = lpc.lsf_to_polynomial(lpc.stabilise_lsf(lsf, self.spacing))
        power = tf.square(tf.matmul(polynomial, self.real)) + tf.square(tf.matmul(polynomial, self.imaginary))
        log = -0.5 * tf.math.log(power + RESPONSE_FLOOR)
        return tf.reshape(tf.repeat(log, self.spectra_per_frame, axis=0), [-1, spectra, self.hop])


def analysis_window(hop: int, spectra: int) -> np.ndarray:
    """Window [(spectra + 1) hop] of linear prediction: flat where spectra overlap, half a Hann window on both sides."""
    fade = np.sin(np.pi * (np.arange(hop) + 0.5) / (2 * hop)) ** 2
    return np.concatenate([fade, np.ones((spectra - 1) * hop), fade[::-1]]).astype(np.float32)


def gain_position(spectra: tf.Tensor, log_shape: tf.Tensor) -> tf.Tensor:
    """Level of whitened spectra on the scale of gain indices, float32 [batch, spectra], not rounded."""
    power = tf.reduce_mean(tf.square(spectra * tf.exp(-log_shape)), -1)
    decibels = 10 / math.log(10) * tf.math.log(power + 1e-12)
    return tf.clip_by_value((decibels - GAIN_FLOOR_DB) / GAIN_STEP_DB, 0.0, GAIN_LEVELS - 1.0)


def log_gain(index: tf.Tensor) -> tf.Tensor:
    """Natural logarithm of the amplitude of gain indices."""
    return (index * GAIN_STEP_DB + GAIN_FLOOR_DB) * DECIBEL
