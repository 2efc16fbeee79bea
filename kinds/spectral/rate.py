"""Differentiable estimate of the context coder's bits: the rate in the training objective.

A coefficient's probability is looked up in one of a row of tables, from still to lively. Which one, a small network
says from the magnitudes already coded around it (in time, in frequency, in the codec before) and from the quantised
envelope. Learned tables interpolated between neighbours represent the integer tables of the coder
(`nsc.entropy`), so that what is minimised is what is paid. Context modelling of lapped spectra goes back to
Meine and Edler (2000); the joint training with the codec is that of Balle et al. (2018) and Minnen et al. (2018).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from constants import LPC_ORDER
from nn_core_operator import Quantised
from nsc.entropy.neighbourhood import BEFORE, BELOW, LARGEST_CONTEXT, LONG_BEFORE, ROUNDS, Distances
from nsc.format.version_2 import GAIN_LEVELS

CLASSES = 48  # tables, from the stillest to the liveliest
FIRST_LOG_SCALE, LOG_SCALE_STEP = -2.6, 0.12  # of the logistic distributions that the tables start as
TAIL = 1e-4  # probability of the tails, at 0
USUAL_LOG_SCALE = -1.0  # of most coefficients, where training begins
HIDDEN = 24  # units of the network that chooses a table
FIRST_LSF_SCALE = 0.06  # radians
LOG2 = math.log(2)
WIDE_FEATURES = 5  # that all bins of a spectrum share


class Known(NamedTuple):
    """Side information of a batch, known before its coefficients are coded.

    envelope: float32 [batch, spectra, bins], natural logarithm.
    offset: float32 [batch, spectra], of the log step.
    warm: float32 [batch, spectra, 2], 1 where the spectrum before, and the one before that, is in the same group.
    """

    envelope: tf.Tensor
    offset: tf.Tensor
    warm: tf.Tensor


class CoefficientRate(keras.layers.Layer):
    """Bits of quantised coefficients."""

    def __init__(self, bins: int, largest: int, module: int) -> None:
        """Makes the rate of module number `module` (from 0); followers look at the codec before, too."""
        super().__init__(name=f"rate_{module + 1}")
        self.bins, self.largest = bins, largest
        self.hidden = [keras.layers.Dense(HIDDEN, activation="tanh") for _ in ROUNDS]
        self.outputs = [keras.layers.Dense(1, kernel_initializer="zeros") for _ in ROUNDS]
        self.direct = [keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros") for _ in ROUNDS]
        self.bin_offsets = self.add_weight(
            shape=(bins,), initializer=keras.initializers.Constant(USUAL_LOG_SCALE), name="bin_offsets"
        )
        for number in range(len(ROUNDS)):
            features = self._count_features(number, follower=module > 0)
            self.hidden[number].build((None, features))
            self.direct[number].build((None, features))
            self.outputs[number].build((None, HIDDEN))
        self.logits = self.add_weight(
            shape=(CLASSES, largest + 1),
            initializer=lambda shape, dtype=None: tf.constant(_initial_logits(largest)),
            name="logits",
        )

    def call(self, indices: tf.Tensor, known: Known, below: tf.Tensor | None = None) -> tf.Tensor:
        """Bits of every coefficient.

        Args:
            indices: float32 [batch, spectra, bins], whole numbers around 0 that carry gradients.
            known: of the batch.
            below: indices of the codec before, for a follower.

        Returns:
            float32 [batch], of each signal.
        """
        tables = self.code_lengths()
        pieces = zip(self._positions(indices, known, below), _by_round(tf.abs(indices)), strict=True)
        return tf.add_n([tf.reduce_sum(_looked_up(tables, *each), [1, 2]) for each in pieces])

    def saved_nearer_to_zero(self, indices: tf.Tensor, known: Known, below: tf.Tensor | None = None) -> tf.Tensor:
        """Bits that each coefficient alone would save one bin nearer to zero, of the shape of `indices`, no gradient.

        Takes what `call` takes; where an index is 0, nothing is saved.
        """
        tables = tf.stop_gradient(self.code_lengths())
        saved = []
        for position, magnitude in zip(self._positions(indices, known, below), _by_round(tf.abs(indices)), strict=True):
            lower = tf.maximum(magnitude - 1.0, 0.0)
            saved.append(_looked_up(tables, position, magnitude) - _looked_up(tables, position, lower))
        return tf.stop_gradient(
            tf.gather(tf.concat(saved, -1), np.argsort(np.concatenate(_by_round(np.arange(self.bins)))), axis=-1)
        )

    def _positions(self, indices: tf.Tensor, known: Known, below: tf.Tensor | None) -> list[tf.Tensor]:
        """Of the coefficients of each round, where among the tables theirs lies."""
        magnitudes = tf.minimum(tf.abs(indices), float(LARGEST_CONTEXT))
        near = [(_moved(magnitudes, 1) * known.warm[..., :1], BEFORE)]
        near += [(_moved(magnitudes, 2) * known.warm[..., 1:], LONG_BEFORE)]
        base = [] if below is None else [(tf.minimum(tf.abs(below), float(LARGEST_CONTEXT)), BELOW)]
        positions = []
        for number, offsets in enumerate(_by_round(self.bin_offsets)):
            features = self._features(number, [*near, (magnitudes, ROUNDS[number].around), *base], known)
            log_scale = self.outputs[number](self.hidden[number](features)) + self.direct[number](features)
            positions.append((log_scale[..., 0] + offsets - FIRST_LOG_SCALE) / LOG_SCALE_STEP)
        return positions

    def code_lengths(self) -> tf.Tensor:
        """Bits of each magnitude under each table with its sign, float32 [classes, largest + 1]."""
        sign = tf.constant([0.0] + [1.0] * self.largest)
        return sign - tf.nn.log_softmax(self.logits) / LOG2

    @staticmethod
    def _count_features(number: int, *, follower: bool) -> int:
        near = len(BEFORE) + len(LONG_BEFORE) + len(ROUNDS[number].around)
        return near + len(BELOW) * follower + 1 + WIDE_FEATURES

    def _features(
        self, number: int, near: Sequence[tuple[tf.Tensor, tuple[Distances, ...]]], known: Known
    ) -> tf.Tensor:
        """What a round's tables are chosen by, float32 [batch, spectra, coefficients, features].

        Args:
            number: of the round.
            near: magnitudes [batch, spectra, bins] that are known by then, and the distances whose sums tell of them.
            known: of the batch.
        """
        # Sums are products with a constant matrix, exact since magnitudes are small whole numbers: as slices they would
        # be some hundred small operations, whose gradients each fill a whole spectrum with zeros.
        sums = [values @ _neighbours(number, self.bins, sets) for values, sets in near if sets]
        envelope = known.envelope / LOG2
        first, step, _ = ROUNDS[number]
        own = envelope[..., first::step, None]
        shape = tf.shape(own)[:-1]
        by_coefficient = [tf.reshape(each, tf.concat([shape, [-1]], 0)) for each in sums]
        mean = tf.reduce_mean(envelope, -1, keepdims=True)
        mean_before = _moved(mean, 1) * known.warm[..., :1] + mean * (1.0 - known.warm[..., :1])
        wide = tf.concat([mean, mean - mean_before, known.warm, known.offset[..., None]], -1)[..., None, :]
        shared = tf.broadcast_to(wide, tf.concat([shape, [WIDE_FEATURES]], 0))
        return tf.concat([tf.math.log1p(2.0 * tf.concat(by_coefficient, -1)) / LOG2, own, shared], -1)


@functools.cache
def _neighbours(number: int, bins: int, sets: tuple[Distances, ...]) -> NDArray[np.float32]:
    """Matrix by which magnitudes of all bins become sums over neighbours, by coefficient of a round and set.

    Returns:
        float32 [bins, coefficients * sets], 1 where a bin belongs to a sum.
    """
    first, step, _ = ROUNDS[number]
    own = np.arange(first, bins, step)
    matrix = np.zeros((bins, len(own), len(sets)), np.float32)
    for place, distances in enumerate(sets):
        for distance in distances:
            inside = (own + distance >= 0) & (own + distance < bins)
            matrix[own[inside] + distance, np.flatnonzero(inside), place] = 1
    return matrix.reshape(bins, -1)


def _by_round(values: Any) -> list[Any]:
    """[..., bins] in the order of coding: what each round codes."""
    return [values[..., first::step] for first, step, _ in ROUNDS]


def _moved(values: tf.Tensor, spectra: int) -> tf.Tensor:
    """Values delayed by that many spectra."""
    return tf.pad(values, [[0, 0], [spectra, 0], [0, 0]])[:, :-spectra]


def _looked_up(tables: tf.Tensor, position: tf.Tensor, magnitude: tf.Tensor) -> tf.Tensor:
    """Bits at a position between two tables; the gradient knows both what the tables and what the magnitude change."""
    classes, entries = tables.shape
    position = tf.clip_by_value(position, 0.0, classes - 1.001)
    lower = tf.floor(position)
    share = position - lower
    whole = tf.minimum(tf.cast(tf.round(magnitude), tf.int32), entries - 1)
    place = tf.cast(lower, tf.int32) * entries + whole
    flat = tf.reshape(tables, [-1])
    value = (1 - share) * tf.gather(flat, place) + share * tf.gather(flat, place + entries)
    return value + _slope(flat, place, whole, entries) * (magnitude - tf.stop_gradient(magnitude))


def _slope(flat: tf.Tensor, place: tf.Tensor, whole: tf.Tensor, entries: int) -> tf.Tensor:
    """What one more of magnitude would cost, by the neighbours in the table, no gradient."""
    up = tf.gather(flat, place + tf.cast(whole < entries - 1, tf.int32))
    down = tf.gather(flat, place - tf.cast(whole > 0, tf.int32))
    between = tf.cast(tf.minimum(whole, 1) + tf.cast(whole < entries - 1, tf.int32), tf.float32)
    return tf.stop_gradient((up - down) / tf.maximum(between, 1.0))


def _initial_logits(largest: int) -> np.ndarray:
    """Logarithms of discrete logistic distributions of rising scale, float32 [classes, largest + 1], by magnitude."""
    scale = np.exp(FIRST_LOG_SCALE + LOG_SCALE_STEP * np.arange(CLASSES))[:, None]
    edges = np.arange(largest + 2)[None] - 0.5
    below = 1 / (1 + np.exp(-edges / scale))
    mass = np.diff(below, axis=1) * np.array([1.0] + [2.0] * largest)
    tail = TAIL * np.exp(-0.5 * np.arange(largest + 1))  # with a slope, so that outliers feel what they cost
    return np.log(np.maximum(mass, tail)).astype(np.float32)


class GainRate(keras.layers.Layer):
    """Bits of gain indices given the one before in the group."""

    def __init__(self) -> None:
        super().__init__(name="gain_rate")
        near = -0.35 * np.abs(np.arange(GAIN_LEVELS)[:, None] - np.arange(GAIN_LEVELS)[None])
        start = np.concatenate([near, np.zeros((1, GAIN_LEVELS))]).astype(np.float32)
        self.logits = self.add_weight(
            shape=start.shape, initializer=lambda shape, dtype=None: tf.constant(start), name="logits"
        )

    def call(self, gains: tf.Tensor, warm: tf.Tensor) -> tf.Tensor:
        """Bits float32 [batch, spectra] of indices int32 [batch, spectra]; warm as in `Known`."""
        before = tf.pad(gains, [[0, 0], [1, 0]])[:, :-1]
        row = tf.where(warm[..., 0] > 0, before, GAIN_LEVELS)
        flat = tf.reshape(tf.nn.log_softmax(self.logits), [-1])
        return -tf.gather(flat, row * GAIN_LEVELS + gains) / LOG2


class LsfRate(keras.layers.Layer):
    """Bits of quantised LSFs: each a logistic distribution over the codebook's levels, around a linear prediction.

    The prediction knows the frame before, where that is in the same group, and the LSFs below.
    """

    def __init__(self) -> None:
        super().__init__(name="lsf_rate")
        flat = np.arange(1, LPC_ORDER + 1, dtype=np.float32) * (np.pi / (LPC_ORDER + 1))
        self.means = self.add_weight(
            shape=(2, LPC_ORDER),
            initializer=lambda shape, dtype=None: tf.constant(np.stack([flat, flat])),
            name="means",
        )
        self.from_before = self.add_weight(shape=(LPC_ORDER, LPC_ORDER), initializer="zeros", name="from_before")
        self.from_below = self.add_weight(shape=(2, LPC_ORDER, LPC_ORDER), initializer="zeros", name="from_below")
        self.log_scales = self.add_weight(
            shape=(2, LPC_ORDER), initializer=keras.initializers.Constant(np.log(FIRST_LSF_SCALE)), name="log_scales"
        )

    def call(self, lsf: Quantised, codebook: tf.Tensor, warm: tf.Tensor) -> tf.Tensor:
        """Bits of the LSFs of each frame.

        Args:
            lsf: quantised, of frames [batch x frames, 1, 16].
            codebook: float32 [levels], radians.
            warm: float32 [batch, frames], 1 where the frame before is in the same group.

        Returns:
            float32 [batch, frames].
        """
        frames = tf.shape(warm)[1]
        values = tf.stop_gradient(tf.reshape(lsf.decoded, [-1, frames, LPC_ORDER]))
        state = tf.stack([1 - warm, warm], -1)
        centred = values - tf.matmul(state, self.means)
        before = tf.pad(centred, [[0, 0], [1, 0], [0, 0]])[:, :-1] * warm[..., None]
        strictly_below = tf.linalg.band_part(self.from_below, -1, 0) - tf.linalg.band_part(self.from_below, 0, 0)
        below = tf.einsum("bfi,soi,bfs->bfo", centred, strictly_below, state)
        expected = tf.matmul(state, self.means) + tf.matmul(before, self.from_before) + below
        distance = tf.abs(codebook - expected[..., None]) / tf.exp(tf.matmul(state, self.log_scales))[..., None]
        log_mass = tf.nn.log_softmax(distance - 2.0 * tf.math.softplus(distance))
        chosen = tf.reshape(_choices(lsf, codebook.shape[0]), [-1, frames, LPC_ORDER, codebook.shape[0]])
        return -tf.reduce_sum(chosen * log_mass, [2, 3]) / LOG2


def _choices(lsf: Quantised, levels: int) -> tf.Tensor:
    """The chosen level as 1 among zeros, with the gradient of the soft assignment."""
    hard = tf.one_hot(lsf.symbols, levels)
    return hard if lsf.assignments is None else hard + lsf.assignments - tf.stop_gradient(lsf.assignments)
