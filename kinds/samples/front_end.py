"""Front ends of the cascade: LPC with a learned LSF codebook, or none."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import lpc_utilities as lpc
from constants import (
    LPC_CONTEXT,
    LPC_ORDER,
    LSF_CODEBOOK_SIZE,
    LSF_FIRST_LEVELS,
    LSF_LAST_LEVELS,
)
from nn_core_operator import Quantised, SoftToHardQuantizer
from options.config import Config
from utilities import crossfade_window


class Analysis(NamedTuple):
    """What a front end gives the cascade for a batch of frames.

    frames: float32 [batch, 512], what decoding should give back.
    residual: float32 [batch, 512], what the first codec codes.
    polynomial: float32 [batch, 17], the quantised prediction polynomial; None without LPC.
    lsf: the quantised LSFs, symbols [batch, 1, 16]; None without LPC.
    """

    frames: tf.Tensor
    residual: tf.Tensor
    polynomial: tf.Tensor | None
    lsf: Quantised | None


class TimeDomainFrontEnd(keras.layers.Layer):
    """No prediction: the codecs code the waveform, at a level that `time_domain_scale` chooses."""

    def __init__(self, config: Config) -> None:
        super().__init__(name="time_domain")
        self.scale = config.time_domain_scale
        self.window = crossfade_window() * np.float32(self.scale)
        self.built = True

    def call(self, contexts: tf.Tensor, decision: str = "hard") -> Analysis:
        """float32 [batch, 1024] around each frame -> the frames themselves, at the codecs' level."""
        frames = _middle(contexts) / self.scale
        return Analysis(frames, frames, None, None)

    def synthesise(self, residual: tf.Tensor, polynomial: tf.Tensor | None) -> tf.Tensor:
        """Float32 [batch, 512] -> the same frames."""
        return residual


class LpcFrontEnd(keras.layers.Layer):
    """LPC of order 16 whose LSFs are quantised soft-to-hard against one codebook of scalars.

    The residual comes from the quantised polynomial, so that the codecs learn to compensate for LSF quantisation,
    and the gradient reaches the codebook through the inverse and the synthesis filter.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(name="lpc")
        self.quantizer = SoftToHardQuantizer(
            lsf_codebook(config.lsf_levels),
            config.lsf_alpha_start,
            trainable_codebook=config.train_lsf_codebook,
            trainable_alpha=config.train_lsf_codebook and config.trains_alpha,
        )
        self.kind = config.residual
        self.spacing = config.lsf_spacing
        self.gamma = config.bandwidth_expansion
        self.window = lpc.synthesis_window(self.kind)
        self.built = True

    def call(self, contexts: tf.Tensor, decision: str = "hard") -> Analysis:
        """Predicts float32 [batch, 1024], the frame and 256 samples on both sides."""
        quantised = self.quantizer(self.line_spectrum(contexts)[:, None, :], decision=decision)
        polynomial = self._polynomial(quantised.decoded)
        frames = _middle(contexts)
        residual = lpc.residual_of(frames, polynomial, self.kind)
        return Analysis(frames * self.window if self.kind == "taper" else frames, residual, polynomial, quantised)

    def line_spectrum(self, contexts: tf.Tensor) -> tf.Tensor:
        """Unquantised LSFs, float32 [batch, 16] in radians, of float32 [batch, 1024]; no gradient."""
        polynomial = lpc.levinson_durbin(lpc.autocorrelation(lpc.analysis_window() * contexts))
        return tf.stop_gradient(lpc.polynomial_to_lsf(polynomial))

    def decode(self, symbols: tf.Tensor) -> tf.Tensor:
        """Decodes int32 LSF symbols [batch, 1, 16] to the prediction polynomial, float32 [batch, 17]."""
        return self._polynomial(self.quantizer.decode(symbols, (1, LPC_ORDER)))

    def synthesise(self, residual: tf.Tensor, polynomial: tf.Tensor) -> tf.Tensor:
        """Residual [batch, 512] -> frames [batch, 512] through 1/A."""
        return lpc.synthesis_filter(residual, polynomial)

    def _polynomial(self, lsf: tf.Tensor) -> tf.Tensor:
        polynomial = lpc.lsf_to_polynomial(lpc.stabilise_lsf(lsf[:, 0, :], self.spacing))
        return lpc.expand_bandwidth(polynomial, self.gamma)


def lsf_codebook(size: int = LSF_CODEBOOK_SIZE) -> np.ndarray:
    """The initial codebook: uniform levels, as many for each coefficient, one flat list, float32 [size], radians."""
    levels = np.linspace(LSF_FIRST_LEVELS, LSF_LAST_LEVELS, size // LPC_ORDER, axis=1)
    return levels.reshape(-1).astype(np.float32)


def _middle(contexts: tf.Tensor) -> tf.Tensor:
    return contexts[:, LPC_CONTEXT:-LPC_CONTEXT]
