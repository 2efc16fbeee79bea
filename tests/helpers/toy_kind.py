"""A kind of network of its own, as docs/new_kind.md describes it: one linear transform of 32 samples for each codec."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from kinds.samples.cascade import SampleCascade
from kinds.samples.kind import SamplesKind
from nn_core_operator import Quantised, SoftToHardQuantizer
from options.config import Config

SAMPLES, POSITIONS, CHANNELS, BINS = 512, 16, 4, 16


class LinearCodec(keras.Model):
    """Codes frames of 512 samples as 16 x 4 symbols, 4 for every 32 samples."""

    starts_from_codes = False  # as codebooks of vectors may
    symbols_shape = (POSITIONS, CHANNELS)

    def __init__(self, module: int) -> None:
        """Makes module number `module` (from 0); a model is saved under its name."""
        super().__init__(name=f"codec_{module + 1}")
        block = SAMPLES // POSITIONS
        layers = keras.layers
        self.encoder = keras.Sequential(
            [keras.Input((SAMPLES, 1)), layers.Reshape((POSITIONS, block)), layers.Dense(CHANNELS, "tanh")]
        )
        self.decoder = keras.Sequential(
            [keras.Input((POSITIONS, CHANNELS)), layers.Dense(block), layers.Reshape((SAMPLES, 1))]
        )
        levels = np.linspace(-1, 1, BINS, dtype=np.float32)
        self.quantizer = SoftToHardQuantizer(levels, -100.0, trainable_alpha=False)
        self.built = True

    def call(
        self, signal: tf.Tensor, polynomial: tf.Tensor | None = None, decision: str = "hard"
    ) -> tuple[tf.Tensor, Quantised]:
        """Codes and decodes float32 [batch, 512]."""
        quantised = self.quantizer(self.encoder(signal[..., None]), decision=decision)
        return self.decoder(quantised.decoded)[..., 0], quantised

    def decode(self, symbols: tf.Tensor, polynomial: tf.Tensor | None = None) -> tf.Tensor:
        """Decodes int32 [batch, 16, 4] to float32 [batch, 512]."""
        return self.decoder(self.quantizer.decode(symbols, self.symbols_shape))[..., 0]


class ToyKind(SamplesKind):
    """Front ends, objective, tables and file format are those of networks on samples; the codecs are its own."""

    def cascade(self, config: Config) -> SampleCascade:
        """See `Kind`."""
        return SampleCascade(config, [LinearCodec(module) for module in range(config.num_modules)])


KIND = ToyKind()
