"""Probabilities of quantised line spectral frequencies, around a linear prediction in whole numbers.

The prediction knows the LSFs below and, where it is in the same group, the frame before. Where it falls chooses one
of a row of tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nsc.entropy.model_arrays import ModelArrays
from nsc.entropy.whole_numbers import Integers

ORDER = 16
MOST_LEVELS = 256
STATES = 2  # of a frame: first of its group, or not
ANGLE_ONE = 1 << 12  # stands for one radian
WEIGHT_ONE = 1 << 12  # stands for a prediction weight of 1
LARGEST_WEIGHT = 16 * WEIGHT_ONE
LARGEST_ANGLE = 4 * ANGLE_ONE
MOST_TABLES = 64  # of one LSF in one state
LARGEST = 2**31 - 1

CodeOne = Callable[[NDArray[np.float64]], int]  # the symbol that a table [1, alphabet] decodes


@dataclass(frozen=True)
class LsfModel:
    """The model of a frame's LSFs.

    Attributes:
        angles: [levels], level of each symbol in radians, times 2^12.
        bias: [2, 16], prediction where all levels are 0, in units of 2^-24 radians.
        before: [16, 16], weight of LSF j of the frame before for LSF i, times 2^12.
        below: [2, 16, 16], weight of LSF j < i of the same frame for LSF i, times 2^12.
        first: [2, 16], prediction at which the second table's turn would begin, less one step.
        step: [2, 16], predictions that share a table.
        counts: [2, 16], tables of each LSF.
        tables: [sum of counts, levels], at least 1 everywhere, sums of 2^16.
    """

    angles: Integers
    bias: Integers
    before: Integers
    below: Integers
    first: Integers
    step: Integers
    counts: Integers
    tables: Integers

    @classmethod
    def read(cls, arrays: ModelArrays) -> LsfModel:
        """The model of a file's arrays.

        Raises:
            UserError: they are not what they should be.
        """
        each = (STATES, ORDER)
        counts = arrays.numbers("counts", each, 1, MOST_TABLES)
        below = arrays.numbers("below", (STATES, ORDER, ORDER), -LARGEST_WEIGHT, LARGEST_WEIGHT)
        if np.triu(below).any():
            raise arrays.error("below", "weights of lower LSFs alone", "others")
        angles = arrays.numbers("angles", (None,), 0, LARGEST_ANGLE)
        if not 2 <= len(angles) <= MOST_LEVELS:
            raise arrays.error("angles", f"2 to {MOST_LEVELS} levels", str(len(angles)))
        return cls(
            angles=angles,
            bias=arrays.numbers("bias", each, -LARGEST, LARGEST),
            before=arrays.numbers("before", (ORDER, ORDER), -LARGEST_WEIGHT, LARGEST_WEIGHT),
            below=below,
            first=arrays.numbers("first", each, -LARGEST, LARGEST),
            step=arrays.numbers("step", each, 1, LARGEST),
            counts=counts,
            tables=arrays.tables("tables", (int(counts.sum()), len(angles))),
        )

    def arrays(self) -> dict[str, NDArray[np.int32]]:
        """The model's arrays for a file."""
        return {each.name: getattr(self, each.name).astype(np.int32) for each in fields(self)}

    def rows(self, symbols: NDArray[np.int32], before: NDArray[np.int32] | None = None) -> Integers:
        """Number of the table of every symbol.

        Args:
            symbols: [..., frames, 16] of groups.
            before: [16], of the frame before the first; None where contexts begin with the group.
        """
        levels = self.angles[symbols]
        expected = self.bias[1] + levels @ self.below[1].T
        expected[..., 1:, :] += levels[..., :-1, :] @ self.before.T
        if before is not None:
            expected[..., 0, :] += self.before @ self.angles[before]
        found = self._places(expected, 1)
        if before is None:
            found[..., 0, :] = self._places(self.bias[0] + levels[..., 0, :] @ self.below[0].T, 0)
        return found

    def decode(self, frames: int, code_one: CodeOne, before: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
        """Decodes the symbols [frames, 16] of a group, one by one; `before` as for `rows`."""
        symbols = np.zeros((frames, ORDER), np.int32)
        tables, (starts, counts, first, step) = self._rows, self._places_of_rows
        expected, state = self._begun(before)
        for frame in range(frames):
            weights = self.below[state].T
            for number in range(ORDER):
                place = (int(expected[number]) - first[state][number]) // step[state][number]
                row = starts[state][number] + min(max(place, 0), counts[state][number] - 1)
                symbol = symbols[frame, number] = code_one(tables[row : row + 1])
                expected += self.angles[symbol] * weights[number]
            expected, state = self._begun(symbols[frame])
        return symbols

    def _begun(self, before: NDArray[np.int32] | None) -> tuple[Integers, int]:
        """Predictions [16] of a frame of which nothing is known yet, and its state."""
        return (self.bias[0].copy(), 0) if before is None else (self.bias[1] + self.before @ self.angles[before], 1)

    @cached_property
    def _rows(self) -> NDArray[np.float64]:
        return self.tables.astype(np.float64)

    @cached_property
    def _places_of_rows(self) -> list[list[list[int]]]:
        return [each.tolist() for each in (self._starts, self.counts, self.first, self.step)]

    @cached_property
    def _starts(self) -> Integers:
        """First table of each LSF, [2, 16]."""
        return (np.cumsum(self.counts.reshape(-1)) - self.counts.reshape(-1)).reshape(self.counts.shape)

    def _places(self, predictions: Integers, state: int) -> Integers:
        place = (predictions - self.first[state]) // self.step[state]
        return self._starts[state] + np.clip(place, 0, self.counts[state] - 1)
