"""Networks on a grid of time and frequency: causal two-dimensional convolutions and gated residual blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from nn_core_operator import PRECISION, leaky_relu

KERNEL = 3  # spectra and bands that a convolution reaches over
JOINED = 5  # tensors that XNNPACK puts together in one operation
DILATIONS = (1, 2)  # of the blocks, in turn, in time and in frequency


def joined(values: Sequence[tf.Tensor], axis: int) -> tf.Tensor:
    """Tensors one after the other, a few at a time, as LiteRT's XNNPACK takes them."""
    while len(values) > 1:
        values = [tf.concat(values[at : at + JOINED], axis) for at in range(0, len(values), JOINED)]
    return values[0]


class Memory:
    """What causal convolutions remember of the spectra before, so that a signal in pieces gives what it gives whole.

    Each convolution in turn takes its past out of the state and leaves the last spectra that it saw.
    """

    def __init__(self, state: tf.Tensor) -> None:
        """Takes a state float32 [batch, size]; zeros at the start of a signal, as convolutions pad."""
        self._state, self._at = state, 0
        self._left: list[tf.Tensor] = []

    def joined(self, values: tf.Tensor, places: int) -> tf.Tensor:
        """Values [batch, time, ...] after the last `places` of them that were seen before."""
        shape = [-1, places, *values.shape[2:]]
        size = math.prod(shape[1:])
        past = tf.reshape(self.taken(size), shape)
        whole = tf.concat([tf.cast(past, values.dtype), values], 1)
        self.leave(tf.reshape(whole[:, -places:], shape))
        return whole

    def taken(self, size: int) -> tf.Tensor:
        """The next numbers [batch, size] of the state."""
        self._at += size
        return self._state[:, self._at - size : self._at]

    def leave(self, values: tf.Tensor) -> None:
        """Puts numbers [batch, ...] into the next state."""
        self._left.append(tf.cast(tf.reshape(values, [-1, math.prod(values.shape[1:])]), tf.float32))

    @property
    def state(self) -> tf.Tensor:
        """After the values that were seen."""
        return joined(self._left, 1)


def memory_of(state: tf.Tensor) -> Memory | None:
    """The memory of a state [batch, size]; None of one without numbers."""
    return Memory(state) if state.shape[1] else None


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
        self.state_size = self.reach * math.prod(size or 0 for size in input_shape[2:])

    def call(self, grid: tf.Tensor, memory: Memory | None = None) -> tf.Tensor:
        """[batch, time, bands, in] -> [batch, time, bands, channels]; without a memory, zeros come before."""
        below, before = self.reach // 2, self.reach - self.ahead
        if memory:
            grid, before = memory.joined(grid, before), 0
        ends = [[0, 0], [before, self.ahead], [below, self.reach - below], [0, 0]]
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

    def call(self, grid: tf.Tensor, memory: Memory | None = None) -> tf.Tensor:
        """[batch, time, bands, wide] -> the same shape."""
        linear, gate = tf.split(self.branches(self.neck(grid), memory=memory), 2, axis=-1)
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

    def call(self, grid: tf.Tensor, memory: Memory | None = None) -> tf.Tensor:
        """[batch, time, bands, in] -> [batch, time, bands, outputs]."""
        hidden = self.first(grid, memory=memory) + tf.cast(self.band_offsets, self.compute_dtype)
        for block in self.blocks:
            hidden = block(hidden, memory=memory)
        return self.last(hidden)

    @property
    def state_size(self) -> int:
        """Numbers that its convolutions remember."""
        return self.first.state_size + sum(block.branches.state_size for block in self.blocks)

    @property
    def past(self) -> int:
        """Spectra before the present one that the network sees."""
        return self.first.reach - self.first.ahead + sum(block.branches.reach for block in self.blocks)
