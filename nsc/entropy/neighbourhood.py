"""Coding order of the coefficients of lapped spectra, and the neighbours that predict their magnitude.

The bins of a spectrum are coded in three rounds: every fourth, those half-way between, the rest. All distances are
in bins; each tuple of them becomes one feature, the logarithm of a sum of magnitudes.
"""

from __future__ import annotations

from typing import NamedTuple

Distances = tuple[int, ...]


class Round(NamedTuple):
    """Bins first, first + step, ..., and the distances at which those of the same spectrum are known already."""

    first: int
    step: int
    around: tuple[Distances, ...]

    def bins(self, side: int = 0) -> slice:
        """Where its bins are in a spectrum that begins after `side` others."""
        return slice(side + self.first, None if not side else -side, self.step)


ROUNDS = (
    Round(0, 4, ()),
    Round(2, 4, ((-2, 2), (-6, 6))),
    Round(1, 2, ((-1, 1), (-3, 3), (-5, 5, -7, 7, -9, 9))),
)
BEFORE: tuple[Distances, ...] = ((0,), (-1, 1), (-2, 2, -3, 3), (-4, 4, -5, 5, -6, 6, -8, 8))  # preceding spectrum
LONG_BEFORE: tuple[Distances, ...] = ((0,), (-1, 1, -2, 2))  # in the one before that
BELOW: tuple[Distances, ...] = ((0,), (-1, 1))  # in the same spectrum of the codec before
LARGEST_CONTEXT = 15  # largest magnitude that contexts distinguish
SIDE = 12  # zeros beyond both ends of a spectrum, so that every neighbour exists
SPECTRUM_FEATURES = 6  # envelope, its mean, the mean's rise, two flags of what is known, offset
