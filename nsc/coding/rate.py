"""Rates of models for any rate: the search over a whole signal, and the pace of a stream.

A pace chooses the step offset of each group. Where a group's bytes have a bound, the offset is searched by coding the
group again, beginning at the one before's: three to five times as a rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from nsc.constants import BEST_QUALITY
from nsc.errors import UserError

USUAL_FALL: Final = 1 / 31  # of the logarithm of bits, for each index of the offset
USUAL_BEND: Final = 0.1  # share by which it is larger at e times less rate
MOST_TRIALS: Final = 10  # encodings of a signal in search of a rate; three are usual
NEAR_ENOUGH: Final = 0.004  # relative error of a rate at which the search ends
MOST_GROUP_TRIALS: Final = 7  # encodings of one group
WELL_FILLED: Final = 0.96  # of a bound: finer steps are not worth another trial
OVERFLOW_GROWTH: Final = 2  # indices by which steps grow where codes reach the last bin
BUCKET_SECONDS: Final = 1.0  # of the rate, by which a stream may be ahead of its budget
FIRST_BUCKET_SECONDS: Final = 0.4  # the same when speech begins and nothing is known of its rate
BUCKET_GROWTH: Final = 0.3  # seconds for each second of speech
SAVED_SECONDS: Final = 2.0  # of the rate, by which it may be behind: what pauses leave beyond that is not used
PULL: Final = 12.0  # indices by which steps are coarser for each second of the rate that a stream is ahead
MOST_FINER: Final = 8.0  # indices by which they are finer at most where it is behind
FOLLOWED: Final = 0.5  # share of what the bucket enforced that steps keep
DRIFT: Final = 0.8  # indices a second, for each second of the rate, by which they go on following


class Rate(NamedTuple):
    """Rate requested of a model for any rate; None throughout is the model's own.

    kbps: 1000 bits per second, all bytes counted.
    quality: from 0 (coarsest steps) to 10, in place of kbps.
    bounded: no group takes more than kbps.
    """

    kbps: float | None = None
    quality: float | None = None
    bounded: bool = False


OWN_RATE: Final = Rate()


def offset_for_quality(quality: float, offsets: int) -> int:
    """Index, of so many offsets, for a quality from 0 (coarsest steps) to 10 (finest).

    Raises:
        UserError: another number.
    """
    if not 0 <= quality <= BEST_QUALITY:
        raise UserError(f"expected a quality from 0 to {BEST_QUALITY:g}, found {quality:g}; choose within")
    return round((1 - quality / BEST_QUALITY) * (offsets - 1))


def offset_for_rate(kbps: float, offsets: int, first: int, rate_at: Callable[[int], float]) -> int:
    """Index of the offset whose rate is nearest to `kbps` among those tried.

    Rates fall with the index. Each trial halves what is left, or goes where the rates known on both sides point to.

    Args:
        kbps: above 0.
        offsets: how many there are.
        first: where to begin.
        rate_at: what a signal takes at an offset index, by coding it.
    """
    rates: dict[int, float] = {}
    index = first
    for trial in range(MOST_TRIALS):
        rates[index] = rate_at(index)
        if abs(rates[index] / kbps - 1) < NEAR_ENOUGH:
            break
        following = _between(rates, kbps, offsets, halve=trial % 3 == 2)
        if following is None:
            break
        index = following
    return min(rates, key=lambda tried: abs(math.log(max(rates[tried], 1e-9) / kbps)))


def _between(sizes: Mapping[int, float], target: float, offsets: int, *, halve: bool = False) -> int | None:
    """An offset between the coarsest that takes more than `target` and the finest beyond that takes no more."""
    above = max((index for index, size in sizes.items() if size > target), default=-1)
    below = min((index for index, size in sizes.items() if size <= target and index > above), default=offsets)
    if below - above <= 1:
        return None
    if halve and above >= 0 and below < offsets:
        return (above + below) // 2
    known = below if below < offsets else above
    overflows = sum(map(math.isinf, sizes.values()))
    guess = known + (OVERFLOW_GROWTH * overflows if math.isinf(sizes[known]) else _distance(sizes[known], target))
    if above >= 0 and below < offsets and math.isfinite(sizes[above]) and sizes[below] > 0:
        fall = math.log(sizes[above] / sizes[below]) / (below - above)
        guess = above + math.log(sizes[above] / target) / max(fall, 1e-6)
    return min(max(round(guess), above + 1), below - 1)


def _distance(size: float, target: float) -> float:
    """Indices from an offset to the one at which bytes usually reach a target."""
    return math.log(max(size, 1.0) / max(target, 1.0)) / USUAL_FALL


class Pace(Protocol):
    """Chooses the step offset of every group of a stream."""

    def first(self, seconds: float, *, quiet: bool) -> int:
        """The offset at which a group of so many seconds is coded first; quiet ones are far below the speech."""
        ...

    def following(self, sizes: Mapping[int, float]) -> int | None:
        """The offset at which it is coded next, given bytes at those tried, infinite where codes overflow; or None."""
        ...

    def chosen(self, sizes: Mapping[int, float]) -> int:
        """The offset among those tried at which it is sent."""
        ...


class EvenPace:
    """One offset for all groups, coarser only where codes overflow."""

    def __init__(self, offset: int, offsets: int) -> None:
        self._offset, self._coarsest = offset, offsets - 1

    def first(self, seconds: float, *, quiet: bool) -> int:
        return self._offset

    def following(self, sizes: Mapping[int, float]) -> int | None:
        last = max(sizes)
        return min(last + OVERFLOW_GROWTH, self._coarsest) if math.isinf(sizes[last]) else None

    def chosen(self, sizes: Mapping[int, float]) -> int:
        return max(sizes)


class BoundedPace:
    """The finest offset at which no group takes more than its share of a rate.

    exceeded: groups that take more at every offset.
    """

    def __init__(self, kbps: float, first: int, offsets: int) -> None:
        self.exceeded = 0
        self._bytes_a_second, self._offsets, self._last = 1000 * kbps / 8, offsets, first
        self._most = 0.0

    def first(self, seconds: float, *, quiet: bool) -> int:
        self._most = math.floor(self._bytes_a_second * seconds)
        return self._last

    def following(self, sizes: Mapping[int, float]) -> int | None:
        filled = any(WELL_FILLED * self._most <= size <= self._most for size in sizes.values())
        fits = any(size <= self._most for size in sizes.values())
        if filled or (fits and len(sizes) >= MOST_GROUP_TRIALS):
            return None
        return _between(sizes, self._most, self._offsets, halve=len(sizes) % 3 == 0)

    def chosen(self, sizes: Mapping[int, float]) -> int:
        fitting = [index for index, size in sizes.items() if size <= self._most]
        self.exceeded += not fitting
        self._last = min(fitting, default=max(sizes))
        return self._last


class BucketPace:
    """A leaky bucket: an average rate, kept by steps that follow the bucket's level slowly.

    The bucket takes every group's bytes and leaks at the rate; what soft groups leave is for those after them. A group
    is coded again, at coarser steps, where the bucket would run over. It is shallow when speech begins, so that the
    first groups find steps for the rate.
    """

    def __init__(self, kbps: float, first: int, offsets: int) -> None:
        self._bytes_a_second, self._offsets = 1000 * kbps / 8, offsets
        self._middle = float(first)  # index at a level of 0
        self._depth = FIRST_BUCKET_SECONDS
        self._level = self._seconds = 0.0
        self._first, self._quiet = first, False

    def first(self, seconds: float, *, quiet: bool) -> int:
        self._seconds, self._quiet = seconds, quiet
        index = round(self._middle + max(PULL * self._level, -MOST_FINER))
        self._first = min(max(index, 0), self._offsets - 1)
        return self._first

    def following(self, sizes: Mapping[int, float]) -> int | None:
        last = list(sizes)[-1]
        enough = len(sizes) >= MOST_GROUP_TRIALS and any(map(math.isfinite, sizes.values()))
        if enough or (last == self._first and sizes[last] <= self._most):
            return None
        return _between(sizes, self._most, self._offsets, halve=len(sizes) % 3 == 0)

    def chosen(self, sizes: Mapping[int, float]) -> int:
        fitting = [index for index, size in sizes.items() if size <= self._most]
        chosen = min(fitting, default=max(sizes))  # of which the coarsest never overflows
        self._middle += FOLLOWED * (chosen - self._first)
        self._level = max(self._level + sizes[chosen] / self._bytes_a_second - self._seconds, -SAVED_SECONDS)
        if not self._quiet:
            self._middle += DRIFT * self._level * self._seconds
            self._depth = min(self._depth + BUCKET_GROWTH * self._seconds, BUCKET_SECONDS)
        return chosen

    @property
    def _most(self) -> float:
        """Bytes of the group with which the bucket is full."""
        return self._bytes_a_second * max(self._seconds - self._level + self._depth, 0.0)


def pace_of(rate: Rate, first: int, offsets: int) -> Pace:
    """The pace of a stream at a rate.

    Args:
        rate: as `arguments.check_rate` lets through.
        first: offset at which the model usually takes that rate; its own where there is none.
        offsets: that the model has.

    Raises:
        UserError: a quality that there is not.
    """
    if rate.quality is not None:
        return EvenPace(offset_for_quality(rate.quality, offsets), offsets)
    if rate.kbps is None:
        return EvenPace(first, offsets)
    return (BoundedPace if rate.bounded else BucketPace)(rate.kbps, first, offsets)
