"""One neural codec: encoder, soft-to-hard quantiser, decoder."""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from config import Config
from constants import FRAME_LENGTH
from nn_core_operator import (
    BottleneckBlock,
    GatedBlock,
    Quantised,
    Reshape,
    SoftToHardQuantizer,
    SubPixelUpsampling,
    convolution,
    leaky_relu,
    mu_law_compress,
    mu_law_expand,
    scalar_codebook,
    vector_codebook,
)

FOLDED_END_KERNEL = 3  # at fold 16 it reaches 48 samples


class NeuralSpeechCodec(keras.Model):
    """Codes frames of 512 samples as 256 (stride 2) or 128 (stride 4) symbols.

    The first codec codes the LPC residual (or the waveform), each follower what the earlier ones left.
    """

    def __init__(self, config: Config, module: int) -> None:
        """Builds module number `module` (from 0) of the cascade that `config` describes."""
        super().__init__(name=f"codec_{module + 1}")
        stride = config.module_strides()[module]
        build_networks = folded_networks if config.block == "folded" else waveform_networks
        self.encoder, self.decoder = build_networks(config, stride)
        self.code_shape: tuple[int, int] = self.encoder.output_shape[1:]
        scalar = config.quantizer == "scalar"
        codebook = scalar_codebook(config.module_bins()[module]) if scalar else vector_codebook()
        self.quantizer = SoftToHardQuantizer(codebook, config.alpha_start, trainable_alpha=config.trains_alpha)
        self.has_warm_up = scalar
        self.mu_law = config.mu_law
        self.scale = config.res_scalar
        self.built = True

    def call(self, signal: tf.Tensor, decision: str = "hard") -> tuple[tf.Tensor, Quantised]:
        """Codes and decodes float32 [batch, 512]: the decoded frames and what the quantiser made of the code."""
        code = self.encoder(signal[..., None] * self.scale)
        if decision == "bypass" and not self.has_warm_up:
            decision = "straight_through"
        quantised = self.quantizer(mu_law_compress(code) if self.mu_law else code, decision=decision)
        return self._synthesise(quantised.decoded), quantised

    def decode(self, symbols: tf.Tensor) -> tf.Tensor:
        """Decodes int32 symbols [batch, positions, channels] to float32 [batch, 512]."""
        return self._synthesise(self.quantizer.decode(symbols, self.code_shape))

    @property
    def symbols_shape(self) -> tuple[int, int]:
        """(positions, channels) of one frame's symbols; each channel has a probability table of its own."""
        return self.quantizer.symbols_shape(self.code_shape)

    def _synthesise(self, code: tf.Tensor) -> tf.Tensor:
        return self.decoder(mu_law_expand(code) if self.mu_law else code)[..., 0] / self.scale


def waveform_networks(config: Config, stride: int) -> tuple[keras.Sequential, keras.Sequential]:
    """Encoder and decoder at full time resolution: blocks "gln" and "bottleneck" of the papers.

    Returns:
        Networks [batch, 512, 1] -> code [batch, 512 / stride, 1] -> [batch, 512, 1].
    """
    _, outer_kernel, wide, _, *_ = config.shape
    halvings = int(math.log2(stride))
    encoder: list[keras.layers.Layer] = [convolution(wide, config.end_kernel, activation=leaky_relu)]
    for _ in range(halvings):
        encoder += _stack(config, wide)
        encoder.append(convolution(wide, outer_kernel, strides=2, activation=leaky_relu))
    encoder += [*_stack(config, wide), convolution(1, config.end_kernel, activation="tanh")]

    decoder: list[keras.layers.Layer] = []
    for _ in range(halvings):
        decoder += [*_stack(config, wide), _widening(config, wide, outer_kernel), SubPixelUpsampling()]
        wide //= 2
    decoder += [*_stack(config, wide), convolution(1, config.end_kernel)]
    return _network(encoder, (FRAME_LENGTH, 1)), _network(decoder, (FRAME_LENGTH // stride, 1))


def folded_networks(config: Config, stride: int) -> tuple[keras.Sequential, keras.Sequential]:
    """Encoder and decoder on samples folded into channels, about a seventh of the multiply-adds.

    Returns:
        Networks [batch, 512, 1] -> code [batch, 512 / fold, fold / stride] -> [batch, 512, 1].
    """
    positions, wide = FRAME_LENGTH // config.fold, config.folded_width
    codes = config.fold // stride
    encoder = [
        Reshape((positions, config.fold)),
        convolution(wide, FOLDED_END_KERNEL, activation=leaky_relu),
        *_folded_blocks(config),
        convolution(codes, FOLDED_END_KERNEL, activation="tanh"),
    ]
    decoder = [
        convolution(wide, FOLDED_END_KERNEL, activation=leaky_relu),
        *_folded_blocks(config),
        convolution(config.fold, FOLDED_END_KERNEL),
        Reshape((FRAME_LENGTH, 1)),
    ]
    return _network(encoder, (FRAME_LENGTH, 1)), _network(decoder, (positions, codes))


def _network(layers: list[keras.layers.Layer], input_shape: tuple[int, int]) -> keras.Sequential:
    return keras.Sequential([keras.Input(input_shape), *layers])


def _stack(config: Config, wide: int) -> Iterator[keras.layers.Layer]:
    """One residual block a dilation; the last one of a stack stays linear."""
    neck_kernel, outer_kernel, _, narrow, *dilations = config.shape
    for number, dilation in enumerate(dilations, start=1):
        activate = number < len(dilations)
        if config.block == "gln":
            yield GatedBlock(wide, narrow, config.gated_kernel, outer_kernel, dilation, activate)
        else:
            yield BottleneckBlock(wide, narrow, neck_kernel, outer_kernel, dilation, activate)


def _folded_blocks(config: Config) -> Iterator[keras.layers.Layer]:
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


def _widening(config: Config, wide: int, kernel: int) -> keras.layers.Layer:
    if config.block == "gln":
        return keras.layers.SeparableConv1D(wide, kernel, padding="same", activation=leaky_relu)
    return convolution(wide, kernel, activation=leaky_relu)
