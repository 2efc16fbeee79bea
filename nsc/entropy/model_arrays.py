"""Checks of the arrays of a model file, so that a damaged or hostile one ends in one clear line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsc.constants import TABLE_PRECISION_BITS, TABLE_TOTAL
from nsc.entropy.whole_numbers import Integers
from nsc.errors import UserError

ADVICE = "copy the model again"


def code_lengths(tables: Integers) -> NDArray[np.float64]:
    """Bits of every symbol under probability tables that sum to 2^16."""
    return float(TABLE_PRECISION_BITS) - np.log2(tables)


class ModelArrays:
    """The arrays of a model whose names begin with a prefix, each checked when it is read."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> None:
        self._arrays = arrays
        self.prefix = prefix

    def within(self, prefix: str) -> ModelArrays:
        """Those whose names go on with another prefix."""
        return ModelArrays(self._arrays, self.prefix + prefix)

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self._arrays

    def numbers(self, name: str, shape: tuple[int | None, ...], low: int, high: int) -> Integers:
        """Whole numbers of a shape, where None stands for any length, all from `low` to `high`.

        Raises:
            UserError: the array is missing, or is not what it should be.
        """
        if name not in self:
            raise self.error(name, "an array", "none")
        array = np.asarray(self._arrays[self.prefix + name])
        if array.dtype.kind not in "iu":
            raise self.error(name, "whole numbers", str(array.dtype))
        if len(array.shape) != len(shape) or any(b not in (None, a) for a, b in zip(array.shape, shape, strict=True)):
            expected = " x ".join("n" if each is None else str(each) for each in shape) or "one number"
            raise self.error(name, expected, " x ".join(map(str, array.shape)) or "one number")
        if array.size and not (low <= int(array.min()) and int(array.max()) <= high):
            raise self.error(name, f"numbers from {low} to {high}", f"{array.min()} to {array.max()}")
        return array.astype(np.int64)

    def tables(self, name: str, shape: tuple[int | None, int]) -> Integers:
        """Probability tables [tables, alphabet]: counts of at least 1 that sum to 2^16.

        Raises:
            UserError: as in `numbers`, or a sum is another.
        """
        tables = self.numbers(name, shape, 1, TABLE_TOTAL)
        sums = tables.sum(-1)
        if (sums != TABLE_TOTAL).any():
            raise self.error(name, f"tables that sum to {TABLE_TOTAL}", f"a sum of {sums[sums != TABLE_TOTAL][0]}")
        return tables

    def error(self, name: str, expected: str, found: str) -> UserError:
        """What is wrong with an array, in one line."""
        return UserError(f"{self.prefix}{name}: expected {expected}, found {found}; {ADVICE}")
