"""One neural codec: encoder, soft-to-hard quantiser, decoder."""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from constants import ENVELOPE_POINTS, FRAME_LENGTH
from lpc_utilities import log_envelope
from nn_core_operator import (
    BottleneckBlock,
    Convolution,
    EndConvolution,
    Film,
    GatedBlock,
    Quantised,
    Reshape,
    SeparableConvolution,
    SoftToHardQuantizer,
    SubPixelUpsampling,
    leaky_relu,
    mu_law_compress,
    mu_law_expand,
    scalar_codebook,
    vector_codebook,
)
from options.config import Config

FOLDED_END_KERNEL = 3  # at fold 16 it reaches 48 samples


class NeuralSpeechCodec(keras.Model):
    """Codes frames of 512 samples as 256 (stride 2) or 128 (stride 4) symbols.

    The first codec codes the LPC residual (or the waveform), each follower what the earlier ones left.
    """

    def __init__(self, config: Config, module: int) -> None:
        """Builds module number `module` (from 0) of the cascade that `config` describes."""
        super().__init__(name=f"codec_{module + 1}")
        stride = config.of_modules("strides")[module]
        build_networks = folded_networks if config.block == "folded" else waveform_networks
        self.encoder, self.decoder = build_networks(config, stride)
        self.code_shape: tuple[int, int] = tuple(self.encoder.outputs[0].shape[1:])
        self.knows_envelope = config.film_units > 0
        scalar = config.of_modules("quantizer")[module] == "scalar"
        codebook = scalar_codebook(config.of_modules("bins")[module]) if scalar else vector_codebook()
        alpha = config.alpha_start if scalar else config.vector_alpha_start
        self.quantizer = SoftToHardQuantizer(codebook, alpha, trainable_alpha=config.trains_alpha)
        self.starts_from_codes = not scalar and config.vector_start == "data"
        self.warm_up_decision = "bypass" if scalar or self.starts_from_codes else config.quantizer_gradient
        self.mu_law = config.mu_law
        self.scale = config.res_scalar
        self.built = True

    def call(
        self, signal: tf.Tensor, polynomial: tf.Tensor | None = None, decision: str = "hard"
    ) -> tuple[tf.Tensor, Quantised]:
        """Codes and decodes a batch.

        Args:
            signal: float32 [batch, 512].
            polynomial: quantised A [batch, 17], for networks that know the envelope.
            decision: how the quantiser decides, see `SoftToHardQuantizer.call`.

        Returns:
            The decoded frames, float32 [batch, 512], and what the quantiser made of the code.
        """
        code = self.analyse(signal, polynomial)
        if decision == "bypass":
            decision = self.warm_up_decision
        quantised = self.quantizer(self.companded(code), decision=decision)
        return self.synthesise(quantised.decoded, polynomial), quantised

    def companded(self, code: tf.Tensor) -> tf.Tensor:
        """The code as the quantiser sees it."""
        return mu_law_compress(code) if self.mu_law else code

    def analyse(self, signal: tf.Tensor, polynomial: tf.Tensor | None = None) -> tf.Tensor:
        """Encodes float32 [batch, 512], given A [batch, 17], to the unquantised code [batch, positions, channels]."""
        return self._run(self.encoder, signal[..., None] * self.scale, polynomial)

    def synthesise(self, code: tf.Tensor, polynomial: tf.Tensor | None = None) -> tf.Tensor:
        """Decodes a code [batch, positions, channels], given A [batch, 17], to float32 [batch, 512]."""
        return self._run(self.decoder, mu_law_expand(code) if self.mu_law else code, polynomial)[..., 0] / self.scale

    def decode(self, symbols: tf.Tensor, polynomial: tf.Tensor | None = None) -> tf.Tensor:
        """Decodes int32 symbols [batch, positions, channels], given A [batch, 17], to float32 [batch, 512]."""
        return self.synthesise(self.quantizer.decode(symbols, self.code_shape), polynomial)

    @property
    def symbols_shape(self) -> tuple[int, int]:
        """(positions, channels) of one frame's symbols; each channel has a probability table of its own."""
        return self.quantizer.symbols_shape(self.code_shape)

    def _run(self, network: keras.Model, signal: tf.Tensor, polynomial: tf.Tensor | None) -> tf.Tensor:
        inputs = [signal, log_envelope(polynomial)] if self.knows_envelope else signal
        return tf.cast(network(inputs), tf.float32)


def waveform_networks(config: Config, stride: int) -> tuple[keras.Model, keras.Model]:
    """Encoder and decoder at full time resolution: blocks "gln" and "bottleneck" of the papers.

    Returns:
        Networks [batch, 512, 1] -> code [batch, 512 / stride, 1] -> [batch, 512, 1].
    """
    _, outer_kernel, wide, _, *_ = config.shape
    halvings = int(math.log2(stride))
    encoder: list[keras.layers.Layer] = [EndConvolution(wide, config.end_kernel, activation=leaky_relu)]
    for _ in range(halvings):
        encoder += _stack(config, wide)
        encoder.append(Convolution(wide, outer_kernel, strides=2, activation=leaky_relu))
    encoder += [*_stack(config, wide), EndConvolution(1, config.end_kernel, activation="tanh")]

    decoder: list[keras.layers.Layer] = []
    for _ in range(halvings):
        decoder += [*_stack(config, wide), _widening(config, wide, outer_kernel), SubPixelUpsampling()]
        wide //= 2
    decoder += [*_stack(config, wide), EndConvolution(1, config.end_kernel)]
    return _network(encoder, (FRAME_LENGTH, 1)), _network(decoder, (FRAME_LENGTH // stride, 1))


def folded_networks(config: Config, stride: int) -> tuple[keras.Model, keras.Model]:
    """Encoder and decoder on samples folded into channels, about a seventh of the multiply-adds.

    Returns:
        Networks [batch, 512, 1] -> code [batch, 512 / fold, fold / stride] -> [batch, 512, 1]. With film_units, both
        take the logarithm of the LPC envelope [batch, 32], too.
    """
    positions = FRAME_LENGTH // config.fold
    codes = config.fold // stride
    encoder = [
        Reshape((positions, config.fold)),
        *_folded_trunk(config),
        Convolution(codes, FOLDED_END_KERNEL, activation="tanh"),
    ]
    decoder = [
        *_folded_trunk(config),
        Convolution(config.fold, FOLDED_END_KERNEL),
        Reshape((FRAME_LENGTH, 1)),
    ]
    return _network(encoder, (FRAME_LENGTH, 1)), _network(decoder, (positions, codes))


def _network(layers: list[keras.layers.Layer], input_shape: tuple[int, int]) -> keras.Model:
    if not any(isinstance(layer, Film) for layer in layers):
        return keras.Sequential([keras.Input(input_shape), *layers])
    signal, envelope = keras.Input(input_shape), keras.Input((ENVELOPE_POINTS,))
    output = signal
    for layer in layers:
        output = layer(output, envelope) if isinstance(layer, Film) else layer(output)
    return keras.Model([signal, envelope], output)


def _stack(config: Config, wide: int) -> Iterator[keras.layers.Layer]:
    """One residual block per dilation; the last one of a stack stays linear."""
    neck_kernel, outer_kernel, _, narrow, *dilations = config.shape
    for number, dilation in enumerate(dilations, start=1):
        activate = number < len(dilations)
        if config.block == "gln":
            yield GatedBlock(wide, narrow, config.gated_kernel, outer_kernel, dilation, activate)
        else:
            yield BottleneckBlock(wide, narrow, neck_kernel, outer_kernel, dilation, activate)


def _folded_trunk(config: Config) -> Iterator[keras.layers.Layer]:
    yield Convolution(config.folded_width, FOLDED_END_KERNEL, activation=leaky_relu)
    yield from _film(config)
    dilations = config.shape[4:]
    for number in range(config.folded_blocks):
        dilation, activate = dilations[number % len(dilations)], number + 1 < config.folded_blocks
        yield GatedBlock(
            config.folded_width,
            config.folded_narrow,
            config.folded_kernel,
            FOLDED_END_KERNEL,
            dilation,
            activate,
        )
        yield from _film(config)


def _film(config: Config) -> Iterator[keras.layers.Layer]:
    if config.film_units:
        yield Film(config.folded_width, config.film_units)


def _widening(config: Config, wide: int, kernel: int) -> keras.layers.Layer:
    if config.block == "gln":
        return SeparableConvolution(wide, kernel, activation=leaky_relu)
    return Convolution(wide, kernel, activation=leaky_relu)
