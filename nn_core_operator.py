"""The operators that the codecs are built from: residual blocks, sub-pixel up-sampling, soft-to-hard quantisers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from constants import MU, SCALAR_CODE_LIMIT, VECTOR_CODE_LENGTH, VECTOR_CODEBOOK_LIMIT, VECTOR_CODEBOOK_SIDE

LEAKY_SLOPE = 0.2
SMALLEST_DISTANCE = 1e-6  # of a codebook's entries where alpha is scaled by it
FOLD = 16  # samples of a block in end convolutions: 8 and 32 take as long or longer
Shape = tuple[int, ...]  # of a batch, whose own size is None
Activation = Callable[[tf.Tensor], tf.Tensor]

DECISIONS = ("bypass", "soft", "straight_through", "hard")

_compute_type: ContextVar[str] = ContextVar("compute_type", default="float32")


@contextmanager
def networks_compute_in(dtype: str) -> Iterator[None]:
    """Networks called or traced inside the block compute in "float32" or "bfloat16"."""
    token = _compute_type.set(dtype)
    try:
        yield
    finally:
        _compute_type.reset(token)


class NetworkPrecision(keras.DTypePolicy):
    """Weights in float32, and arithmetic as `networks_compute_in` sets it, float32 by default."""

    @property
    def compute_dtype(self) -> str:
        """The type to which a layer casts inputs and weights when it is called."""
        return _compute_type.get()


PRECISION = NetworkPrecision("float32")


def leaky_relu(signal: tf.Tensor) -> tf.Tensor:
    """Leaky rectifier of slope 0.2, the cascade's only activation besides tanh."""
    return tf.nn.leaky_relu(signal, LEAKY_SLOPE)


class Convolution(keras.layers.Conv1D):
    """A one-dimensional convolution [batch, time, in] -> [batch, time / stride, channels] with bias.

    In bfloat16 the bias is added as a sum: the gradient of Keras's own addition is rounded after every term, and stops
    growing at 256 equal ones. In float32 that addition melts into the convolution, a tenth of the step.
    """

    def __init__(self, channels: int, kernel: int, **options: Any) -> None:
        super().__init__(channels, kernel, padding="same", dtype=PRECISION, **options)

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        """[batch, time, in] -> [batch, time / stride, channels]."""
        if self.compute_dtype == "float32":
            return super().call(signal)
        return self.activation(self.convolution_op(signal, self.kernel) + self.bias)


class SeparableConvolution(keras.layers.SeparableConv1D):
    """A convolution of each channel, then one of a single tap, [batch, time, in] -> [batch, time, channels]."""

    def __init__(self, channels: int, kernel: int, activation: Activation) -> None:
        super().__init__(channels, kernel, padding="same", dtype=PRECISION, activation=activation)

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        """[batch, time, in] -> [batch, time, channels]."""
        kernels = self.depthwise_kernel, self.pointwise_kernel
        return self.activation(keras.ops.separable_conv(signal, *kernels, padding="same") + self.bias)


class EndConvolution(keras.layers.Conv1D):
    """A convolution with bias between one channel and many, [batch, time, in] -> [batch, time, channels].

    A long kernel between few channels leaves a machine idle. With blocks of samples folded into channels the same sums
    are matrix products. At 55 taps a third of what they multiply are zeros, and yet a step takes a quarter of the time.
    """

    def __init__(self, channels: int, kernel: int, activation: Activation | str | None = None) -> None:
        super().__init__(channels, kernel, padding="same", dtype=PRECISION, activation=activation)

    def build(self, input_shape: Shape) -> None:
        """Makes the weights of a convolution.

        Raises:
            ValueError: the signal does not consist of whole blocks.
        """
        if input_shape[1] % FOLD:
            raise ValueError(f"expected a multiple of {FOLD} samples, found {input_shape[1]}")
        super().build(input_shape)

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        """[batch, time, in] -> [batch, time, channels]."""
        taps, channels_in, channels = self.kernel.shape
        blocks = signal.shape[1] // FOLD
        back, ahead = -(-((taps - 1) // 2) // FOLD), -(-(taps // 2) // FOLD)  # blocks that the kernel reaches over
        reached = back + 1 + ahead
        kernel = _folded_kernel(tf.convert_to_tensor(self.kernel), back, reached)
        folded = tf.reshape(signal, [-1, blocks, FOLD * channels_in])
        ends = [[0, 0], [back, ahead], [0, 0]]
        if channels_in < channels:  # shift what is narrow: here the input
            padded = tf.pad(folded, ends)
            neighbours = tf.concat([padded[:, place : place + blocks] for place in range(reached)], axis=-1)
            product = tf.tensordot(neighbours, tf.reshape(kernel, [-1, FOLD * channels]), axes=1)
        else:
            kernel = tf.reshape(tf.transpose(kernel, [1, 0, 2]), [FOLD * channels_in, -1])
            shares = tf.split(tf.pad(tf.tensordot(folded, kernel, axes=1), ends), reached, axis=-1)
            product = tf.add_n([share[:, place : place + blocks] for place, share in enumerate(shares)])
        return self.activation(tf.reshape(product, [-1, blocks * FOLD, channels]) + self.bias)


def _folded_kernel(kernel: tf.Tensor, back: int, reached: int) -> tf.Tensor:
    """A kernel [taps, in, channels] once for each place in a block, shifted by it: [reached, 16 in, 16 channels]."""
    taps, channels_in, channels = kernel.shape
    length = reached * FOLD
    before = back * FOLD - (taps - 1) // 2
    # rows of length + 1 read as rows of length: each begins one sample later than the one above
    row = tf.pad(tf.transpose(kernel, [1, 2, 0]), [[0, 0], [0, 0], [before, length + 1 - taps - before]])
    rows = tf.tile(row, [1, 1, FOLD])[:, :, : FOLD * length]
    rows = tf.reshape(rows, [channels_in, channels, FOLD, reached, FOLD])
    return tf.reshape(tf.transpose(rows, [3, 4, 0, 2, 1]), [reached, FOLD * channels_in, FOLD * channels])


class GatedBlock(keras.layers.Layer):
    """Gated linear residual block ("gln"): narrow, multiply a linear with a tanh branch, widen, add.

    The two branches are the halves of one convolution. A single input channel is broadcast by the skip connection.
    """

    def __init__(
        self, wide: int, narrow: int, gate_kernel: int, back_kernel: int, dilation: int, activate: bool
    ) -> None:
        super().__init__(dtype=PRECISION)
        self.neck = Convolution(narrow, 1, activation=leaky_relu)
        self.branches = Convolution(2 * narrow, gate_kernel, dilation_rate=dilation)
        self.back = Convolution(wide, back_kernel)
        self.activate = activate

    def build(self, input_shape: Shape) -> None:
        """Makes the weights without a pass through the network, which takes ten times as long."""
        self.neck.build(input_shape)
        self.branches.build((*input_shape[:-1], self.neck.filters))
        self.back.build((*input_shape[:-1], self.branches.filters // 2))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """[batch, time, channels] -> [batch, time, wide]."""
        return (*input_shape[:-1], self.back.filters)

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        """[batch, time, channels] -> [batch, time, wide]."""
        linear, gate = tf.split(self.branches(self.neck(signal)), 2, axis=-1)
        widened = signal + self.back(linear * tf.tanh(gate))
        return leaky_relu(widened) if self.activate else widened


class BottleneckBlock(keras.layers.Layer):
    """Residual block with a dilated bottleneck: narrow, dilated, widen, add."""

    def __init__(
        self, wide: int, narrow: int, neck_kernel: int, outer_kernel: int, dilation: int, activate: bool
    ) -> None:
        super().__init__(dtype=PRECISION)
        self.neck = Convolution(narrow, outer_kernel, activation=leaky_relu)
        self.dilated = Convolution(narrow, neck_kernel, dilation_rate=dilation, activation=leaky_relu)
        self.back = Convolution(wide, outer_kernel)
        self.activate = activate

    def build(self, input_shape: Shape) -> None:
        """Makes the weights without a pass through the network."""
        self.neck.build(input_shape)
        self.dilated.build((*input_shape[:-1], self.neck.filters))
        self.back.build((*input_shape[:-1], self.dilated.filters))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """[batch, time, channels] -> [batch, time, wide]."""
        return (*input_shape[:-1], self.back.filters)

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        """[batch, time, channels] -> [batch, time, wide]."""
        widened = signal + self.back(self.dilated(self.neck(signal)))
        return leaky_relu(widened) if self.activate else widened


class Film(keras.layers.Layer):
    """Scales and shifts each channel as a condition requires (feature-wise linear modulation, Perez et al., 2018).

    Its last layer starts at zero: before training it changes nothing.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(dtype=PRECISION)
        self.hidden = keras.layers.Dense(hidden, activation=leaky_relu, dtype=PRECISION)
        self.modulation = keras.layers.Dense(2 * channels, kernel_initializer="zeros", dtype=PRECISION)

    def build(self, signal_shape: Shape, condition_shape: Shape) -> None:
        """Makes the weights."""
        self.hidden.build(condition_shape)
        self.modulation.build((None, self.hidden.units))

    def compute_output_shape(self, signal_shape: Shape, condition_shape: Shape) -> Shape:
        """The signal's."""
        return signal_shape

    def call(self, signal: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
        """Signal [batch, time, channels] and condition [batch, values] -> [batch, time, channels]."""
        scale, shift = tf.split(self.modulation(self.hidden(condition))[:, None, :], 2, axis=-1)
        return signal * (1.0 + scale) + shift


class SubPixelUpsampling(keras.layers.Layer):
    """Doubles the time resolution by moving halves of the channels into time (Shi et al., 2016)."""

    def __init__(self) -> None:
        super().__init__(dtype=PRECISION)

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        """[batch, time, channels] -> [batch, 2 time, channels / 2]."""
        _, time, channels = signal.shape
        return tf.reshape(signal, [-1, 2 * time, channels // 2])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """[batch, time, channels] -> [batch, 2 time, channels / 2]."""
        batch, time, channels = input_shape
        return (batch, 2 * time, channels // 2)


class Reshape(keras.layers.Layer):
    """[batch, ...] -> [batch, *shape] without copying: folds samples into channels and back."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(dtype=PRECISION)
        self.target = list(shape)

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        """[batch, time, channels] -> [batch, *shape]."""
        return tf.reshape(signal, [-1, *self.target])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """[batch, time, channels] -> [batch, *shape]."""
        return (input_shape[0], *self.target)


def mu_law_compress(code: tf.Tensor) -> tf.Tensor:
    """Companding of values in [-1, 1] that gives small ones finer steps (ITU-T G.711, mu 63)."""
    return tf.sign(code) * tf.math.log1p(MU * tf.abs(code)) / math.log1p(MU)


def mu_law_expand(companded: tf.Tensor) -> tf.Tensor:
    """The inverse of `mu_law_compress`."""
    return tf.sign(companded) * tf.math.expm1(tf.abs(companded) * math.log1p(MU)) / MU


class Quantised(NamedTuple):
    """What a quantiser makes of a batch of codes.

    decoded: float32, the code's shape, what the decoder is given.
    assignments: float32 [batch, positions, channels, bins], soft; None where the decision is hard.
    symbols: int32 [batch, positions, channels], the nearest bin, what a bitstream carries.
    """

    decoded: tf.Tensor
    assignments: tf.Tensor | None
    symbols: tf.Tensor


class SoftToHardQuantizer(keras.layers.Layer):
    """Soft-to-hard quantisation against a trainable codebook (Agustsson et al., 2017).

    A unit of the code is assigned to the entries of the codebook by softmax(alpha x distance). The softmax scale is
    kept as log(-alpha): at the network's learning rate alpha itself would never leave its start.
    """

    def __init__(
        self, codebook: np.ndarray, alpha_start: float, *, trainable_codebook: bool = True, trainable_alpha: bool = True
    ) -> None:
        """Creates the quantiser.

        Args:
            codebook: initial entries, float [bins] for scalar or [bins, length] for vector units.
            alpha_start: initial softmax scale, below 0.
            trainable_codebook: whether training moves the entries.
            trainable_alpha: whether training moves alpha.
        """
        super().__init__()
        self.unit = codebook.shape[1:]
        self.codebook = self.add_weight(
            shape=codebook.shape,
            initializer=lambda shape, dtype=None: tf.constant(codebook, dtype=tf.float32),
            trainable=trainable_codebook,
            name="codebook",
        )
        self.log_scale = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(math.log(-alpha_start)),
            trainable=trainable_alpha,
            name="log_scale",
        )
        self.built = True

    @property
    def alpha(self) -> tf.Tensor:
        """The softmax scale, below 0."""
        return -tf.exp(self.log_scale)

    def restart(self, codebook: np.ndarray) -> None:
        """Replaces the entries by as many others, and alpha so that neighbours lie as many nats apart as before."""
        nearer = neighbour_distance(self.codebook.numpy()) / max(neighbour_distance(codebook), SMALLEST_DISTANCE)
        self.codebook.assign(codebook)
        self.log_scale.assign(self.log_scale + math.log(nearer))

    def call(self, code: tf.Tensor, decision: str = "hard") -> Quantised:
        """Quantises float32 [batch, positions, channels], paired into units where the codebook holds vectors.

        Args:
            code: what the encoder gives.
            decision: "hard" decodes the nearest entry; "straight_through" as well, with the code's own gradient in
                addition to the codebook's; "soft" decodes the mixture of entries; "bypass" decodes the code itself.
        """
        if decision not in DECISIONS:
            raise ValueError(f"decision is one of {DECISIONS}, not {decision!r}")
        units = self.units_of(code)
        distances = self._distances(units)
        symbols = tf.argmin(distances, axis=-1, output_type=tf.int32)
        if decision == "hard":
            return Quantised(self.decode(symbols, code.shape[1:]), None, symbols)
        assignments = tf.nn.softmax(self.alpha * distances)
        decoded = {
            "bypass": lambda: code,
            "soft": lambda: self._shaped(self._mixture(assignments), code.shape[1:]),
            # the added difference is exactly zero, its gradient one
            "straight_through": lambda: self.decode(symbols, code.shape[1:]) + (code - tf.stop_gradient(code)),
        }[decision]()
        return Quantised(decoded, assignments, symbols)

    def decode(self, symbols: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
        """The codebook's entries of int32 symbols, as a code of float32 [batch, *shape]."""
        return self._shaped(tf.gather(self.codebook, symbols), shape)

    def soft_hard_gap(self, quantised: Quantised) -> tf.Tensor:
        """RMS difference of the soft mixture from the hard decision, in units of the codebook."""
        difference = self._mixture(quantised.assignments) - tf.gather(self.codebook, quantised.symbols)
        return tf.sqrt(tf.reduce_mean(tf.square(difference)))

    def symbols_shape(self, code_shape: Sequence[int]) -> tuple[int, int]:
        """(positions, channels) of the symbols of one frame, for codes of (positions, channels)."""
        positions, channels = code_shape
        if not self.unit:
            return positions, channels
        length = self.unit[0]
        return (positions, channels // length) if channels % length == 0 else (positions // length, channels)

    def _mixture(self, assignments: tf.Tensor) -> tf.Tensor:
        return tf.tensordot(assignments, self.codebook, axes=1)

    def units_of(self, code: tf.Tensor) -> tf.Tensor:
        """A code [batch, positions, channels] in what the codebook quantises, [batch, *symbols, length of a vector]."""
        return tf.reshape(code, [-1, *self.symbols_shape(code.shape[1:]), *self.unit])

    def _distances(self, units: tf.Tensor) -> tf.Tensor:
        if not self.unit:
            return tf.abs(units[..., None] - self.codebook)
        squares = tf.reduce_sum(tf.square(units), axis=-1, keepdims=True) + tf.reduce_sum(
            tf.square(self.codebook), axis=-1
        )
        product = tf.tensordot(units, self.codebook, axes=[[-1], [1]])
        # the square root's gradient needs a distance above zero
        return tf.sqrt(tf.maximum(squares - 2.0 * product, 0.0) + 1e-10)

    def _shaped(self, values: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
        return tf.reshape(values, [-1, *shape])


def neighbour_distance(codebook: np.ndarray) -> float:
    """Median distance from an entry of a codebook [bins] or [bins, length] to its nearest neighbour."""
    codebook = codebook.reshape(len(codebook), -1)
    distances = np.linalg.norm(codebook[:, None] - codebook, axis=-1)
    np.fill_diagonal(distances, np.inf)
    return float(np.median(distances.min(axis=1)))


def scalar_codebook(bins: int) -> np.ndarray:
    """Uniform levels on [-1, 1], the range of a tanh: float32 [bins]."""
    return np.linspace(-SCALAR_CODE_LIMIT, SCALAR_CODE_LIMIT, bins, dtype=np.float32)


def vector_codebook() -> np.ndarray:
    """A uniform 32 x 32 grid on +-0.1: float32 [1024, 2]."""
    side = np.linspace(-VECTOR_CODEBOOK_LIMIT, VECTOR_CODEBOOK_LIMIT, VECTOR_CODEBOOK_SIDE, dtype=np.float32)
    return np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, VECTOR_CODE_LENGTH)
