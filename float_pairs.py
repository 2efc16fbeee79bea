"""Prediction polynomials in pairs of float32, for graphs on machines without float64.

A pair stands for the sum of its two numbers, about 48 bits (Dekker, 1971). 1/A near the unit circle needs them: A from
float32 alone moves samples by up to a thousandth of full scale.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from constants import LPC_ORDER

SPLITTER = 4097.0  # 2^12 + 1 parts a float32 into halves whose products are exact
STEPS_PER_RADIAN = 256  # of the cosine table, so that what is left of an angle is below 0.002


class Pair(NamedTuple):
    """The number high + low, of which high is the nearest float32."""

    high: tf.Tensor
    low: tf.Tensor


def lsf_to_polynomial(lsf: tf.Tensor) -> tf.Tensor:
    """As `lpc_utilities.lsf_to_polynomial`, mostly to the last bit.

    Args:
        lsf: LSFs [batch, 16] in radians from 0 to pi, in order.

    Returns:
        A [batch, 17], a[0] = 1.
    """
    roots = tf.transpose(tf.reshape(lsf, [-1, LPC_ORDER // 2, 2]), [0, 2, 1])
    linear = tf.constant([[[1.0, 1.0], [1.0, -1.0]]]) + 0.0 * roots[:, :, :1]
    polynomials = Pair(linear, tf.zeros_like(linear))
    for root in tf.unstack(roots[..., None], axis=2):
        ends = _sum(_shifted(polynomials, 0, 2), _shifted(polynomials, 2, 0))
        middle = _product(_shifted(polynomials, 1, 1), _cosine(root))
        polynomials = _sum(ends, Pair(-2.0 * middle.high, -2.0 * middle.low))
    symmetric, antisymmetric = (Pair(polynomials.high[:, row], polynomials.low[:, row]) for row in range(2))
    return 0.5 * _sum(symmetric, antisymmetric).high[:, : LPC_ORDER + 1]


def _shifted(polynomials: Pair, before: int, behind: int) -> Pair:
    paddings = [[0, 0], [0, 0], [before, behind]]
    return Pair(tf.pad(polynomials.high, paddings), tf.pad(polynomials.low, paddings))


def _cosine(angle: tf.Tensor) -> Pair:
    """The cosine of float32 angles from 0 to pi, to 1e-10: from a table and the angle sums."""
    table = np.arange(int(np.pi * STEPS_PER_RADIAN) + 2) / STEPS_PER_RADIAN
    cosines, sines = np.cos(table), np.sin(table).astype(np.float32)
    high = cosines.astype(np.float32)
    place = tf.cast(tf.round(angle * STEPS_PER_RADIAN), tf.int32)
    rest = angle - tf.cast(place, tf.float32) / STEPS_PER_RADIAN
    square = rest * rest
    fall = 0.5 * square * (1.0 - square / 12.0)  # 1 - cos(rest)
    rise = rest * (1.0 - square / 6.0)  # sin(rest)
    base = tf.gather(high, place)
    low = tf.gather((cosines - high).astype(np.float32), place)
    return _two_sum(base, low - (base * fall + tf.gather(sines, place) * rise))


def _two_sum(first: tf.Tensor, second: tf.Tensor) -> Pair:
    """The exact sum of two float32 (Knuth)."""
    high = first + second
    share = high - first
    return Pair(high, (first - (high - share)) + (second - share))


def _two_product(first: tf.Tensor, second: tf.Tensor) -> Pair:
    """The exact product of two float32 (Dekker)."""
    high = first * second
    (a, b), (c, d) = _halves(first), _halves(second)
    return Pair(high, ((a * c - high) + a * d + b * c) + b * d)


def _halves(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    scaled = SPLITTER * number
    upper = scaled - (scaled - number)
    return upper, number - upper


def _sum(first: Pair, second: Pair) -> Pair:
    total = _two_sum(first.high, second.high)
    return _two_sum(total.high, total.low + (first.low + second.low))


def _product(first: Pair, second: Pair) -> Pair:
    exact = _two_product(first.high, second.high)
    return _two_sum(exact.high, exact.low + (first.high * second.low + first.low * second.high))
