"""Networks on a grid of time and frequency: causal two-dimensional convolutions and gated residual blocks."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from nn_core_operator import PRECISION, leaky_relu

KERNEL = 3  # spectra and bands that a convolution reaches over
DILATIONS = (1, 2)  # of the blocks, in turn, in time and in frequency


class GridConvolution(keras.layers.Layer):
    """A two-dimensional convolution that reaches back in time, but for `ahead` spectra, and to both sides in bands."""

    def __init__(self, channels: int, kernel: int = KERNEL, dilation: int = 1, ahead: int = 0) -> None:
        super().__init__(dtype=PRECISION)
        self.reach = (kernel - 1) * dilation
        self.ahead = ahead
        self.convolution = keras.layers.Conv2D(
            channels, kernel, dilation_rate=dilation, padding="valid", dtype=PRECISION
        )

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Makes the weights."""
        self.convolution.build(input_shape)

    def call(self, grid: tf.Tensor) -> tf.Tensor:
        """[batch, time, bands, in] -> [batch, time, bands, channels]."""
        below = self.reach // 2
        ends = [[0, 0], [self.reach - self.ahead, self.ahead], [below, self.reach - below], [0, 0]]
        return self.convolution(tf.pad(grid, ends))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """[batch, time, bands, in] -> [batch, time, bands, channels]."""
        return (*input_shape[:-1], self.convolution.filters)


class GatedGridBlock(keras.layers.Layer):
    """The gated linear residual block of the time-domain networks, over time and bands."""

    def __init__(self, wide: int, narrow: int, dilation: int) -> None:
        super().__init__(dtype=PRECISION)
        self.neck = keras.layers.Dense(narrow, activation=leaky_relu, dtype=PRECISION)
        self.branches = GridConvolution(2 * narrow, dilation=dilation)
        self.back = keras.layers.Dense(wide, dtype=PRECISION)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Makes the weights."""
        self.neck.build(input_shape)
        self.branches.build((*input_shape[:-1], self.neck.units))
        self.back.build((*input_shape[:-1], self.neck.units))

    def call(self, grid: tf.Tensor) -> tf.Tensor:
        """[batch, time, bands, wide] -> the same shape."""
        linear, gate = tf.split(self.branches(self.neck(grid)), 2, axis=-1)
        return leaky_relu(grid + self.back(linear * tf.tanh(gate)))


class GridNetwork(keras.layers.Layer):
    """A correction of a grid: convolution, gated blocks, and an output that starts at zero.

    Every band has an offset of its own, since a convolution would treat low and high frequencies alike.
    """

    def __init__(self, bands: int, outputs: int, width: int, narrow: int, blocks: int, ahead: int = 0) -> None:
        super().__init__(dtype=PRECISION)
        self.first = GridConvolution(width, ahead=ahead)
        self.band_offsets = self.add_weight(shape=(bands, width), initializer="zeros", name="band_offsets")
        self.blocks = [GatedGridBlock(width, narrow, DILATIONS[number % len(DILATIONS)]) for number in range(blocks)]
        self.last = keras.layers.Dense(outputs, kernel_initializer="zeros", dtype=PRECISION)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Makes the weights."""
        self.first.build(input_shape)
        wide = self.first.compute_output_shape(input_shape)
        for block in self.blocks:
            block.build(wide)
        self.last.build(wide)

    def call(self, grid: tf.Tensor) -> tf.Tensor:
        """[batch, time, bands, in] -> [batch, time, bands, outputs]."""
        hidden = self.first(grid) + tf.cast(self.band_offsets, self.compute_dtype)
        for block in self.blocks:
            hidden = block(hidden)
        return self.last(hidden)

    @property
    def past(self) -> int:
        """Spectra before the present one that the network sees."""
        return self.first.reach - self.first.ahead + sum(block.branches.reach for block in self.blocks)
