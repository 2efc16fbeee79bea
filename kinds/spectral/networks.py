"""One neural codec on the spectrum: encoder, quantiser with trained bins, decoder; and the step sizes of them all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kinds.spectral.grid import GridConvolution, GridNetwork, Memory
from nn_core_operator import PRECISION
from nsc.entropy.coefficient_model import LARGEST_INDEX as LARGEST
from options.config import Config

LAST_EVEN, GROWTH = 47, 1.2  # bins are evenly spaced up to this index; beyond, each step is so much wider
STEP_UNITS = 48  # hidden channels of the network that corrects step sizes
# Amplitude of the decoder's noise in steps: the least, and what is added where training begins. P.862 would have none
# and squeezes it out where it may, and judges that hear holes fall with it.
LEAST_NOISE, FIRST_NOISE, MOST_LOG_NOISE = 0.1, 0.05, 3.0
FOLLOWER_LOG_SCALE = -0.7  # a follower's step begins at half of the first codec's


class QuantisedSpectrum(NamedTuple):
    """Result of the quantiser.

    decoded: float32 [batch, spectra, bands, fold], what the decoder is given.
    indices: float32 of the same shape, whole numbers from -63 to 63 that carry the code's gradient.
    code: float32 of the same shape, what was quantised, cut off half a step beyond the outermost bins.
    """

    decoded: tf.Tensor
    indices: tf.Tensor
    code: tf.Tensor


class Synthesised(NamedTuple):
    """What a codec's decoder makes of values, float32 [batch, spectra, bands, fold] each, in the first codec's steps.

    spectrum: of what the code says.
    noise: amplitude of the noise that belongs beside it; None where the decoder adds none.
    """

    spectrum: tf.Tensor
    noise: tf.Tensor | None


class UniformQuantizer(keras.layers.Layer):
    """Nearest of trained bins, which start at the whole numbers and stay near them; the outermost are further apart.

    At the finest steps harmonics stand far above their envelope; the wider bins reach 134 steps, 28 dB and more above
    their own noise, without more symbols.

    Training decodes hard decisions with a straight-through gradient, as the cascade's other quantiser does. Soft
    assignments to 127 bins at every coefficient would cost more than the networks and gain nothing: the rate comes from
    the context model.
    """

    def __init__(self) -> None:
        super().__init__(name="quantizer")
        start = _first_bins()
        self._end = float(start[-1] + 0.5 * GROWTH ** (LARGEST - LAST_EVEN))
        self.codebook = self.add_weight(
            shape=start.shape, initializer=lambda shape, dtype=None: tf.constant(start), name="codebook"
        )
        self.built = True

    def call(self, code: tf.Tensor, decision: str = "hard") -> QuantisedSpectrum:
        """Quantises a code of any shape; decisions as those of `SoftToHardQuantizer`, without "soft"."""
        # beyond the last bin a gradient passed straight through would make small steps smaller still
        code = tf.clip_by_value(code, -self._end, self._end)
        index = self._nearest(tf.stop_gradient(code))
        if decision == "hard":
            return QuantisedSpectrum(self.decode(index), index, code)
        passed = code - tf.stop_gradient(code)  # exactly zero, its gradient one
        decoded = code if decision == "bypass" else self.decode(index) + passed
        return QuantisedSpectrum(decoded, index + passed, code)

    def nearer_to_zero(self, quantised: QuantisedSpectrum, saved: tf.Tensor, rdo_lambda: float) -> QuantisedSpectrum:
        """One bin nearer to zero where the squared error grows by less than `rdo_lambda` times the bits that it saves.

        As encoders of models that ship do, by `nsc.entropy`. Gradients pass as they did.
        """
        index, code = tf.stop_gradient(quantised.indices), tf.stop_gradient(quantised.code)
        lower = index - tf.sign(index)
        growth = tf.square(code - self.decode(lower)) - tf.square(code - self.decode(index))
        chosen = tf.where(growth < rdo_lambda * saved, lower, index)
        return quantised._replace(
            decoded=quantised.decoded + self.decode(chosen) - self.decode(index),
            indices=quantised.indices + chosen - index,
        )

    def decode(self, indices: tf.Tensor) -> tf.Tensor:
        """The bins of indices -63 to 63."""
        return tf.gather(self.codebook, tf.cast(indices, tf.int32) + LARGEST)

    def _nearest(self, code: tf.Tensor) -> tf.Tensor:
        """Index of the nearest of three bins: that which would be nearest at the start, and its neighbours."""
        magnitude = tf.abs(code)
        beyond = tf.math.log1p((GROWTH - 1) * tf.maximum(magnitude - LAST_EVEN, 0.0)) / math.log(GROWTH)
        place = tf.sign(code) * (tf.minimum(magnitude, float(LAST_EVEN)) + beyond)
        middle = tf.clip_by_value(tf.round(place), -LARGEST, LARGEST)
        candidates = tf.stack([middle, tf.minimum(middle + 1, LARGEST), tf.maximum(middle - 1, -LARGEST)])
        nearest = tf.argmin(tf.abs(code - self.decode(candidates)), axis=0, output_type=tf.int32)
        return tf.where(nearest == 0, middle, tf.where(nearest == 1, candidates[1], candidates[2]))


def _first_bins() -> NDArray[np.float32]:
    """Where bins start, [127]."""
    index = np.arange(LARGEST + 1)
    wide = np.maximum(index - LAST_EVEN, 0)
    half = np.minimum(index, LAST_EVEN) + (GROWTH**wide - 1) / (GROWTH - 1)
    return np.concatenate([-half[:0:-1], half]).astype(np.float32)


class StepSizes(keras.layers.Layer):
    """Logarithm of the quantiser's step at every coefficient, from the envelope alone, so that the decoder knows it.

    A power of the envelope below 1 lets noise follow the spectrum over part of its range, as the perceptual weighting
    of CELP does; an offset for each bin and a small network correct it.
    """

    def __init__(self, bands: int, fold: int, *, power: float, start: float) -> None:
        super().__init__(name="step", dtype=PRECISION, autocast=False)  # the envelope itself counts in float32
        self.power = power
        self.offsets = self.add_weight(
            shape=(bands, fold), initializer=keras.initializers.Constant(np.log(start)), name="offsets"
        )
        self.first = GridConvolution(STEP_UNITS)
        self.last = keras.layers.Dense(fold, kernel_initializer="zeros", dtype=PRECISION)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Makes the weights."""
        self.first.build(input_shape)
        self.last.build(self.first.compute_output_shape(input_shape))

    def call(self, envelope: tf.Tensor, memory: Memory | None = None) -> tf.Tensor:
        """Grid of log envelopes [batch, spectra, bands, fold] -> of log steps."""
        correction = self.last(tf.tanh(self.first(envelope, memory=memory)))
        return self.power * envelope + tf.cast(self.offsets, tf.float32) + tf.cast(correction, tf.float32)


class SpectralCodec(keras.layers.Layer):
    """Codes what the earlier codecs left of a spectrum, in units of the first one's step size."""

    def __init__(self, config: Config, module: int) -> None:
        """Builds module number `module` (from 0) of the cascade that `config` describes."""
        super().__init__(name=f"codec_{module + 1}")
        sizes = ("spectral_width", "spectral_narrow", "spectral_blocks")
        width, narrow, blocks = (config.of_modules(name)[module] for name in sizes)
        bands, inputs = config.hop // config.fold, 2 + (module > 0)
        self.encoder = GridNetwork(bands, config.fold, width, narrow, blocks, config.look_ahead)
        self.makes_noise = config.noise_fill
        self.decoder = GridNetwork(bands, config.fold * (1 + self.makes_noise), width, narrow, blocks)
        for network in (self.encoder, self.decoder):
            network.build((None, None, bands, inputs * config.fold))
        self.quantizer = UniformQuantizer()
        self.log_scale = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(FOLLOWER_LOG_SCALE if module else 0.0),
            trainable=module > 0,
            name="log_scale",
        )
        self.starts_from_codes = False  # as vector codebooks may
        self.built = True

    def quantise(
        self,
        left: tf.Tensor,
        condition: tf.Tensor,
        below: tf.Tensor | None,
        audible: tf.Tensor,
        decision: str = "hard",
        memory: Memory | None = None,
    ) -> QuantisedSpectrum:
        """Codes a batch of grids, all float32 [batch, spectra, bands, fold].

        Args:
            left: what is to be coded, in units of the first codec's step.
            condition: logarithm of envelope over step.
            below: quantised values of the codec before, for a follower.
            audible: [batch, spectra, 1, 1], 0 where a spectrum is silent and has no code, else 1.
            decision: how the quantiser decides.
            memory: of the encoder; None where it sees a signal as a whole.
        """
        target = left * tf.exp(-self.log_scale)
        correction = tf.cast(self.encoder(self._inputs(target, condition, below), memory=memory), tf.float32)
        return self.quantizer((target + correction) * audible, decision=decision)

    def synthesise(
        self,
        values: tf.Tensor,
        condition: tf.Tensor,
        below: tf.Tensor | None,
        audible: tf.Tensor,
        memory: Memory | None = None,
    ) -> Synthesised:
        """Quantised values to a spectrum and to the noise beside it, in units of the first codec's step."""
        found = tf.cast(self.decoder(self._inputs(values, condition, below), memory=memory), tf.float32)
        scale = tf.exp(self.log_scale) * audible
        if not self.makes_noise:
            return Synthesised((values + found) * scale, None)
        correction, amplitude = tf.split(found, 2, -1)
        amplitude = LEAST_NOISE + FIRST_NOISE * tf.exp(tf.minimum(amplitude, MOST_LOG_NOISE))
        return Synthesised((values + correction) * scale, amplitude * scale)

    @property
    def past(self) -> int:
        """Spectra before the present one that encoder or decoder sees."""
        return max(self.encoder.past, self.decoder.past)

    @staticmethod
    def _inputs(values: tf.Tensor, condition: tf.Tensor, below: tf.Tensor | None) -> tf.Tensor:
        return tf.concat([_asinh(values), condition, *([] if below is None else [_asinh(below)])], -1)


def _asinh(values: tf.Tensor) -> tf.Tensor:
    """As tf.asinh, which LiteRT lacks: near 0 the value itself, far from it logarithmic."""
    negative = values < 0
    magnitude = tf.where(negative, -values, values)  # the gradient of tf.abs would be 0 at 0
    result = tf.math.log(magnitude + tf.sqrt(tf.square(magnitude) + 1.0))
    return tf.where(negative, -result, result)
