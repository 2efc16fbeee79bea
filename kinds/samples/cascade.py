"""The cascade on samples: an optional LPC front end, and neural codecs on its residual."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from cmrl import Cascade, residual_layers
from constants import LPC_ORDER
from kinds.samples.front_end import Analysis, LpcFrontEnd, TimeDomainFrontEnd
from kinds.samples.rate import FRAMES_PER_SECOND
from neural_speech_coding_module import NeuralSpeechCodec
from nn_core_operator import Film, Quantised
from nsc.format.version_1 import CODEC_PART, LPC_PART
from nsc.kinds.samples.network import Part
from options.config import Config


class CascadeOutput(NamedTuple):
    """One pass of a batch through the cascade.

    analysis: what the front end found.
    codes: what each codec's quantiser made of its code.
    sums: float32 [batch, 512] each: the residual decoded by the first codec, by the first two, ...
    """

    analysis: Analysis
    codes: list[Quantised]
    sums: list[tf.Tensor]


class Symbols(NamedTuple):
    """All that a batch of frames sends, except the gain.

    lsf: int32 [batch, 1, 16]; None without LPC.
    codes: int32 [batch, positions, channels] of each codec.
    """

    lsf: tf.Tensor | None
    codes: list[tf.Tensor]


class SampleCascade(Cascade):
    """An LPC front end, or none, and codecs on frames of samples."""

    frames_per_second = FRAMES_PER_SECOND

    def __init__(self, config: Config, codecs: Sequence[Any] | None = None) -> None:
        """Makes the front end that a configuration describes, and its codecs unless others are given."""
        front_end = TimeDomainFrontEnd(config) if config.time_domain else LpcFrontEnd(config)
        own = [NeuralSpeechCodec(config, module) for module in range(config.num_modules)] if codecs is None else codecs
        super().__init__(config, front_end, own)

    def call(self, contexts: tf.Tensor, decisions: Sequence[str], lsf_decision: str) -> CascadeOutput:
        """Codes and decodes a batch, up to the depth that `decisions` reaches.

        Args:
            contexts: float32 [batch, 1024], each frame with 256 samples on both sides.
            decisions: how each codec's quantiser decides, see `SoftToHardQuantizer.call`.
            lsf_decision: how the LSF quantiser decides.
        """
        analysis = self.front_end(contexts, decision=lsf_decision)

        def coder(codec: NeuralSpeechCodec, decision: str) -> Callable[[tf.Tensor, Any], tuple[tf.Tensor, Quantised]]:
            return lambda left, _: codec(left, polynomial=analysis.polynomial, decision=decision)

        coders = [coder(*each) for each in zip(self.codecs, decisions, strict=False)]
        layers = list(residual_layers(analysis.residual, coders))
        return CascadeOutput(analysis, [code for _, code in layers], [decoded for decoded, _ in layers])

    @tf.function(reduce_retracing=True, autograph=False)
    def encode(self, contexts: tf.Tensor, depth: int) -> Symbols:
        """As `symbols_of`, compiled."""
        return self.symbols_of(contexts, depth)

    def symbols_of(self, contexts: tf.Tensor, depth: int) -> Symbols:
        """The hard symbols of float32 [batch, 1024] up to `depth` codecs."""
        output = self.call(contexts, ["hard"] * depth, "hard")
        lsf = output.analysis.lsf
        return Symbols(None if lsf is None else lsf.symbols, [code.symbols for code in output.codes])

    @tf.function(reduce_retracing=True, autograph=False)
    def decode(self, symbols: Symbols) -> list[tf.Tensor]:
        """As `frames_of`, compiled."""
        return self.frames_of(symbols)

    def frames_of(self, symbols: Symbols) -> list[tf.Tensor]:
        """Windowed frames, float32 [batch, 512], at every depth, ready for plain overlap-add. Uses symbols only."""
        polynomial = None if symbols.lsf is None else self.front_end.decode(symbols.lsf)
        layers = [codec.decode(code, polynomial) for codec, code in zip(self.codecs, symbols.codes, strict=False)]
        sums = [tf.add_n(layers[:depth]) for depth in range(1, len(layers) + 1)]
        return [self.front_end.window * self.front_end.synthesise(each, polynomial) for each in sums]

    def parts(self, depth: int | None = None) -> list[Part]:
        lpc = [] if self.config.time_domain else [Part(LPC_PART, (1, LPC_ORDER), self.config.lsf_levels)]
        return lpc + [
            Part(f"{CODEC_PART} {number}", codec.symbols_shape, codec.quantizer.codebook.shape[0])
            for number, codec in enumerate(self.codecs[:depth], start=1)
        ]

    def move_steps(self, changes: Sequence[float]) -> None:
        """Spreads the codebook of each of the first codecs by e to the power of a number, about zero."""
        for codec, change in zip(self.codecs, changes, strict=False):
            codec.quantizer.restart(codec.quantizer.codebook.numpy() * math.exp(change))

    def soft_hard_gaps(self, contexts: tf.Tensor, depth: int) -> dict[str, float]:
        """How far each part's soft mixture is from its hard decision, on float32 [batch, 1024]."""
        output = self.call(contexts, ["straight_through"] * depth, "straight_through")
        lsf = [] if output.analysis.lsf is None else [(self.front_end, output.analysis.lsf)]
        pairs = lsf + list(zip(self.codecs, output.codes, strict=False))
        return {
            part.name: float(layer.quantizer.soft_hard_gap(quantised))
            for part, (layer, quantised) in zip(self.parts(depth), pairs, strict=True)
        }

    @tf.function(reduce_retracing=True, autograph=False)
    def soft_counts(self, contexts: tf.Tensor, depth: int) -> list[tf.Tensor]:
        """How often each part's channels take each value, float32 [channels, alphabet], by soft assignments."""
        output = self.call(contexts, ["straight_through"] * depth, "straight_through")
        quantised = ([] if output.analysis.lsf is None else [output.analysis.lsf]) + output.codes
        return [tf.reduce_sum(each.assignments, axis=(0, 1)) for each in quantised]

    def multiply_adds(self, depth: int | None = None) -> int:
        networks = [network for codec in self.codecs[:depth] for network in (codec.encoder, codec.decoder)]
        return round(sum(map(_multiply_adds, networks)) * self.frames_per_second)


def _multiply_adds(network: keras.Model) -> int:
    """Of one frame."""
    total = 0
    for layer in network.layers:
        kernels = [np.prod(weight.shape) for weight in layer.weights if len(weight.shape) > 1]
        times = 1 if isinstance(layer, Film) else layer.output.shape[1]
        total += int(times * sum(kernels))
    return total
