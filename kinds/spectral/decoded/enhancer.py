"""An enhancer of decoded speech in the time domain: an adaptive comb along its pitch, and what a network adds.

What a short transform leaves between harmonics is noise; the same speech one and two pitch lags ago has other noise.
Everything looks at the past only, so that nothing is delayed. The adaptive comb is that of LACE (Buethe et al., 2023)
in spirit; here it is made of a few trained filters whose gains the network sets every millisecond.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kinds.spectral.grid import Memory, joined
from nn_core_operator import PRECISION
from nsc.kinds.spectral.enhancer import CONDITIONS, PLACE
from nsc.kinds.spectral.pitch import (
    AHEAD,
    BLOCK,
    FADE,
    HISTORY,
    LAG_COST,
    LAGS,
    LEAST_ENERGY,
    SHORTEST,
    TRANSFORM,
    WINDOW,
    low_pass,
)

FIRST_KERNEL, KERNEL = 9, 5  # places
DILATIONS = (1, 3, 9)
FOLDED = 3  # signals that the network sees: now, and one and two lags ago
FACTS = 5  # that it is told at every place
COMB_TAPS = 16  # samples
COMB_CUTOFFS = (8000, 4000, 1000)  # Hz, of the comb's filters before training
COMBS = 2 * len(COMB_CUTOFFS)  # of one lag and of two
LEAST_CORRELATION = 0.3  # that lets the comb act
GAIN_SCALE, ADDED_SCALE = 0.2, 0.1  # slow the network's outputs down at the start, when they are zero
POWER_FLOOR = 1e-6  # of a place, relative to the group's level
AMPLITUDE_FLOOR = 1e-20  # power: keeps the root's gradient finite in digital silence


class Enhanced(NamedTuple):
    """Enhanced samples float32 [batch, samples], and what the next ones depend on, float32 [batch, state size]."""

    samples: tf.Tensor
    state: tf.Tensor


class Causal(keras.layers.Layer):
    """A convolution over time that sees the present and the past, given the inputs before the first one."""

    def __init__(self, inputs: int, channels: int, kernel: int = 1, dilation: int = 1, *, start: str = "he") -> None:
        super().__init__(dtype=PRECISION)
        self.taps, self.dilation = kernel, dilation
        scale = {"he": 1.0, "small": 0.3, "zeros": 0.0}[start]
        normal = keras.initializers.RandomNormal(stddev=scale / (kernel * inputs) ** 0.5)
        self.kernel = self.add_weight(
            shape=(kernel * inputs, channels), initializer=normal if scale else "zeros", name="kernel"
        )
        self.bias = self.add_weight(shape=(channels,), initializer="zeros", name="bias")
        self.memory = (self.past, inputs)
        self.built = True

    @property
    def past(self) -> int:
        """Inputs before the present one that it sees."""
        return self.dilation * (self.taps - 1)

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """[batch, past + time, inputs] -> [batch, time, channels]."""
        starts = range(0, self.past + 1, self.dilation)
        seen = joined([values[:, start : start - self.past or None, :] for start in starts], -1)
        return tf.matmul(seen, tf.cast(self.kernel, values.dtype)) + tf.cast(self.bias, values.dtype)


class GatedBlock(keras.layers.Layer):
    """A gated residual block over time, as those of the codec's networks."""

    def __init__(self, wide: int, narrow: int, dilation: int) -> None:
        super().__init__(dtype=PRECISION)
        self.neck = Causal(wide, narrow)
        self.branches = Causal(narrow, 2 * narrow, KERNEL, dilation)
        self.back = Causal(narrow, wide, start="small")
        self.built = True

    def call(self, values: tf.Tensor, memory: Memory) -> tf.Tensor:
        """[batch, time, wide] -> the same shape."""
        linear, gate = tf.split(self.branches(memory.joined(tf.nn.elu(self.neck(values)), self.branches.past)), 2, -1)
        return values + self.back(linear * tf.sigmoid(gate))


class Enhancer(keras.layers.Layer):
    """Begins as the identity. What it adds is nothing where decoded speech and its past are nothing."""

    def __init__(self, width: int) -> None:
        """Makes a network of so many channels."""
        super().__init__(name="enhancer", dtype=PRECISION, autocast=False)
        narrow = width // 2
        self.first = Causal(FOLDED * PLACE + FACTS, width, FIRST_KERNEL)
        self.blocks = [GatedBlock(width, narrow, dilation) for dilation in DILATIONS]
        self.gains = Causal(width, COMBS, start="zeros")
        self.added = Causal(width, PLACE, start="zeros")
        filters = np.stack([_half_low_pass(cutoff) for cutoff in COMB_CUTOFFS] * 2).astype(np.float32)
        self.filters = self.add_weight(
            shape=filters.shape, initializer=lambda shape, dtype=None: tf.constant(filters), name="filters"
        )
        memories = [self.first.memory, *(block.branches.memory for block in self.blocks)]
        self.memories = [*memories, (1, COMBS + 1), (COMB_TAPS - 1, 2)]
        self.built = True

    @property
    def state_size(self) -> int:
        """Numbers that it remembers."""
        return sum(length * channels for length, channels in self.memories)

    def call(self, signals: tf.Tensor, conditions: tf.Tensor, state: tf.Tensor) -> Enhanced:
        """Enhances decoded speech.

        Args:
            signals: float32 [batch, samples, 5], see `nsc.kinds.spectral.pitch.lagged`.
            conditions: float32 [batch, samples / 16, 5], see `nsc.kinds.spectral.enhancer.CONDITIONS`.
            state: of the samples before these, float32 [batch, state_size], zeros at the start.
        """
        memory = Memory(state)
        now, one, two = (signals[..., number : number + 1] for number in range(3))
        inputs = tf.cast(self._inputs(signals, conditions), self.compute_dtype)
        hidden = tf.nn.elu(self.first(memory.joined(inputs, self.first.past)))
        for block in self.blocks:
            hidden = block(hidden, memory=memory)
        voiced = tf.nn.relu(conditions[..., 3:4] - LEAST_CORRELATION)
        gains = tf.tanh(GAIN_SCALE * tf.cast(self.gains(hidden), tf.float32)) * voiced
        power = tf.reduce_mean(tf.square(_folded(now)), -1, keepdims=True)
        ramps = _ramps(memory.joined(tf.concat([gains, tf.sqrt(power + AMPLITUDE_FLOOR)], -1), 1))
        added = ADDED_SCALE * tf.squeeze(ramps[..., -1:], -1) * tf.cast(self.added(hidden), tf.float32)
        comb = self._combs(memory.joined(tf.concat([one - now, two - now], -1), COMB_TAPS - 1))
        combed = tf.reduce_sum(ramps[..., :-1] * tf.reshape(comb, [tf.shape(now)[0], -1, PLACE, COMBS]), -1)
        return Enhanced(tf.reshape(_folded(now) + (added + combed), [tf.shape(now)[0], -1]), memory.state)

    def enhance(self, signals: tf.Tensor, levels: tf.Tensor, offsets: tf.Tensor, layers: int) -> tf.Tensor:
        """Whole signals from their start, as training and validation see them.

        Args:
            signals: float32 [batch, samples], decoded, whole blocks of 5 ms.
            levels: float32 [batch, hops], amplitude that counts as 1.
            offsets: float32 [batch, hops], of the logarithm of the step.
            layers: codecs that decoded them.
        """
        pitch = pitch_of(signals)
        places = tf.shape(signals)[1] // PLACE

        def at_places(values: tf.Tensor) -> tf.Tensor:
            return tf.repeat(values, places // tf.shape(values)[1], axis=1)

        depth = tf.fill(tf.shape(levels), float(layers))
        facts = [levels, offsets, depth, pitch.correlations, tf.cast(pitch.lags, tf.float32)]
        conditions = tf.stack([at_places(each) for each in facts], -1)
        state = tf.zeros([tf.shape(signals)[0], self.state_size])
        return self.call(lagged(signals, pitch.lags), conditions, state).samples

    def _inputs(self, signals: tf.Tensor, conditions: tf.Tensor) -> tf.Tensor:
        """Folded signals at unit level, and facts of the same size: [batch, places, FOLDED 16 + FACTS]."""
        level, offset, layers, correlation, lag = (conditions[..., n : n + 1] for n in range(CONDITIONS))
        now, one, two = (_folded(signals[..., n : n + 1]) / level for n in (0, 3, 4))
        power = tf.reduce_mean(tf.square(now), -1, keepdims=True)
        loudness = 1 + tf.math.log(power + POWER_FLOOR) / np.log(1000)
        period = tf.math.log(lag / (2 * SHORTEST))
        return joined([now, one, two, correlation, offset, loudness, period, layers - 1], -1)

    def _combs(self, differences: tf.Tensor) -> tf.Tensor:
        """Differences [batch, 15 + samples, 2] of one and of two lags, filtered, [batch, samples, combs]."""

        def filtered(lag: int) -> tf.Tensor:
            ends = range(1 - COMB_TAPS, 1)
            seen = joined([differences[:, COMB_TAPS - 1 + end : end or None, lag : lag + 1] for end in ends], -1)
            return tf.matmul(seen, tf.split(self.filters, 2)[lag], transpose_b=True)

        return tf.concat([filtered(0), filtered(1)], -1)


def _folded(signal: tf.Tensor) -> tf.Tensor:
    """[batch, samples] -> [batch, places, 16]."""
    return tf.reshape(signal, [tf.shape(signal)[0], -1, PLACE])


def _ramps(values: tf.Tensor) -> tf.Tensor:
    """Values at places, after those before them [batch, 1 + places, n], led from one to the next: [..., 16, n]."""
    share = (np.arange(1, PLACE + 1, dtype=np.float32) / PLACE)[:, None]
    shape = [tf.shape(values)[0], -1, 1, values.shape[-1]]
    before, after = tf.reshape(values[:, :-1, :], shape), tf.reshape(values[:, 1:, :], shape)
    return before + (after - before) * share


def _half_low_pass(cutoff: float) -> np.ndarray:
    """The present and past half of a linear-phase low-pass, [COMB_TAPS], oldest first; at 8 kHz the identity."""
    place = np.arange(-COMB_TAPS + 1, 1)
    response = np.hamming(2 * COMB_TAPS - 1)[:COMB_TAPS] * np.sinc(cutoff / 8000 * place)
    return response / response.sum()


class Pitch(NamedTuple):
    """Lag in samples, int32 [batch, blocks], and correlation there, float32; as `nsc.kinds.spectral.pitch` has it."""

    lags: tf.Tensor
    correlations: tf.Tensor


def pitch_of(signals: tf.Tensor) -> Pitch:
    """The pitch of signals [batch, samples], whole blocks, before which there is silence."""
    taps = low_pass()
    padded = tf.pad(tf.stop_gradient(signals), [[0, 0], [WINDOW - BLOCK + len(taps) - 1, 0]])
    filtered = tf.nn.conv1d(padded[..., None], taps[:, None, None], 1, "VALID")[..., 0]
    frames = tf.signal.frame(filtered, WINDOW, BLOCK)
    frames -= tf.reduce_mean(frames, -1, keepdims=True)
    spectrum = tf.signal.rfft(frames, [TRANSFORM])
    power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
    products = tf.signal.irfft(tf.cast(power, tf.complex64), [TRANSFORM])
    energy = tf.cumsum(tf.pad(tf.square(frames), [[0, 0], [0, 0], [1, 0]]), -1)
    first = tf.gather(energy, WINDOW - LAGS, axis=-1)
    last = energy[..., -1:] - tf.gather(energy, LAGS, axis=-1)
    norm = tf.sqrt(tf.maximum(first * last, 0.0)) + LEAST_ENERGY
    correlations = tf.gather(products, LAGS, axis=-1) / norm
    best = tf.argmax(correlations - (LAG_COST * LAGS).astype("float32"), -1, tf.int32)
    return Pitch(SHORTEST + best, tf.gather(correlations, best, batch_dims=2))


def lagged(signals: tf.Tensor, lags: tf.Tensor) -> tf.Tensor:
    """Signals [batch, samples] beside their past by the lags of their blocks, float32 [batch, samples, 5]."""
    samples = signals.shape[1] or tf.shape(signals)[1]
    padded = tf.pad(signals, [[0, 0], [HISTORY, 0]])
    place = HISTORY + tf.range(samples)
    new = tf.minimum(tf.cast(tf.range(samples) % BLOCK + 1, tf.float32) / FADE, 1.0)

    def ago(lags: tf.Tensor) -> tf.Tensor:
        lag = tf.repeat(lags, BLOCK, axis=1)
        past = [
            tf.gather(padded, place - times * lag + ahead, batch_dims=1) for ahead in (0, AHEAD) for times in (1, 2)
        ]
        return tf.stack(past, -1)

    before = tf.pad(lags[:, :-1], [[0, 0], [1, 0]], constant_values=SHORTEST)
    past = new[:, None] * ago(lags) + (1 - new)[:, None] * ago(before)
    return tf.concat([signals[..., None], past], -1)
