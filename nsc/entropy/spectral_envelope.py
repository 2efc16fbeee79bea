"""The logarithm of the quantised LPC envelope in whole numbers, for the contexts of spectral coefficients.

Line spectra have a product form (Itakura 1975): |A|^2 = (|P|^2 + |Q|^2) / 4 at a frequency w, where |P| is
2 cos(w / 2) times the product of |2 cos w - 2 cos f| over every other LSF f from the first, and |Q| is 2 sin(w / 2)
times that over the rest. Its logarithm is thus a sum of one table entry per LSF.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nsc.entropy.whole_numbers import LOG_ONE, Integers, integer_log2, log_add
from nsc.format.version_2 import GAIN_LEVELS, GAIN_STEP_DB

COSINE_BITS = 20  # 2^20 stands for 1 in cosines
NARROWEST = 0.0075  # radians that an LSF keeps from every bin: the decoder parts equal ones by about twice that
GAIN_FLOOR_DB = -72.0
RESPONSE_FLOOR = 1e-5  # least |A|^2, as where step sizes are made


class EnvelopeLogs:
    """Envelopes of one LSF codebook at the frequencies of a lapped spectrum."""

    def __init__(self, cosines: Integers, bins: int) -> None:
        """Makes the tables.

        Args:
            cosines: 2 cos of every level of the codebook, [levels], times 2^20.
            bins: of a spectrum.
        """
        frequency = (np.arange(bins) + 0.5) * np.pi / bins
        at_bins = np.rint(2 * np.cos(frequency) * (1 << COSINE_BITS)).astype(np.int64)
        least = np.rint(2 * np.sin(frequency) * NARROWEST * (1 << COSINE_BITS)).astype(np.int64)
        unit = LOG_ONE * COSINE_BITS
        self._logs = 2 * (integer_log2(np.maximum(np.abs(at_bins - cosines[:, None]), least)) - unit)
        # (2 cos(w / 2))^2 = 2 + 2 cos w and (2 sin(w / 2))^2 = 2 - 2 cos w
        two = 2 << COSINE_BITS
        self._ends = np.stack([integer_log2(two + at_bins), integer_log2(two - at_bins)]) - unit
        self._order = -cosines  # rises with the frequency of a level
        self._last: tuple[object, Integers] = None, self._ends

    def shapes(self, symbols: NDArray[np.int32]) -> Integers:
        """LOG_ONE x log2 |1 / A| at every bin, [..., bins], of LSF symbols [..., 16]; not to be written to."""
        key = symbols.shape, symbols.tobytes()
        last = self._last  # threads share the tables
        if last[0] != key:  # the same again at other step sizes, and as what precedes the next packet
            self._last = last = key, self._shapes(symbols)
        return last[1]

    def _shapes(self, symbols: NDArray[np.int32]) -> Integers:
        ordered = np.take_along_axis(symbols, np.argsort(self._order[symbols], -1, kind="stable"), -1)
        symmetric = self._ends[0] + self._logs[ordered[..., 0::2]].sum(-2)
        antisymmetric = self._ends[1] + self._logs[ordered[..., 1::2]].sum(-2)
        power = log_add(symmetric, antisymmetric) - 2 * LOG_ONE
        return -(log_add(power, np.full_like(power, _FLOOR_LOG)) >> 1)


def gain_logs() -> Integers:
    """LOG_ONE x log2 of the amplitude of every gain index, [64]."""
    decibels = np.arange(GAIN_LEVELS) * GAIN_STEP_DB + GAIN_FLOOR_DB
    return np.rint(LOG_ONE * decibels / 20 * np.log2(10)).astype(np.int64)


_FLOOR_LOG = int(np.rint(LOG_ONE * np.log2(RESPONSE_FLOOR)))
