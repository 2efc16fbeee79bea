"""Logarithms and hyperbolic tangents in whole numbers, from tables that every machine computes alike.

No entry of a table lies close to a rounding border (tests/nsc/test_whole_numbers.py), so that the last digit of a
mathematical library does not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers = NDArray[np.int64]
WholeFloats = NDArray[np.float64]  # whole numbers, or whole multiples of a power of two: sums and products are exact

LOG_ONE = 256  # stands for 1 in logarithms, which are to base 2
MANTISSA_BITS = 9  # of a number that its logarithm depends on
TANH_BITS = 7  # a step of the table's argument is 2^-7
TANH_RANGE = 4  # beyond it, tanh counts as constant
TANH_ONE_BITS = 12  # 2^12 stands for 1 in its values

_MANTISSA_LOGS = np.rint(LOG_ONE * np.log2(1 + (np.arange(1 << MANTISSA_BITS) + 0.5) / (1 << MANTISSA_BITS))).astype(
    np.int64
)
_LOG_SUMS = np.rint(LOG_ONE * np.log2(1 + np.exp2(-np.arange(10 * LOG_ONE) / LOG_ONE))).astype(np.int64)


def integer_log2(values: ArrayLike) -> Integers:
    """LOG_ONE x log2 of whole numbers from 1 to 2^53, from their leading ten bits."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    place = np.floor(mantissa * (2 << MANTISSA_BITS)).astype(np.int64) - (1 << MANTISSA_BITS)
    return _MANTISSA_LOGS[place] + LOG_ONE * (exponent.astype(np.int64) - 1)


def log_add(first: Integers, second: Integers) -> Integers:
    """Logarithm of the sum of two numbers, from their logarithms."""
    larger = np.maximum(first, second)
    gap = 2 * larger - first - second
    return larger + _LOG_SUMS[np.minimum(gap, len(_LOG_SUMS) - 1)]


def count_logs(largest: int) -> WholeFloats:
    """LOG_ONE x log2(1 + 2 n) of n = 0 ... largest, rounded."""
    return np.rint(LOG_ONE * np.log2(1 + 2 * np.arange(largest + 1)))


def tanh_table() -> WholeFloats:
    """2^12 x tanh at the middles of 1024 steps from -4 to 4, rounded."""
    middles = (np.arange(2 * TANH_RANGE << TANH_BITS) + 0.5) / (1 << TANH_BITS) - TANH_RANGE
    return np.rint(np.tanh(middles) * (1 << TANH_ONE_BITS))
