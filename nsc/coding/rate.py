"""Search for the step offset of a target rate in kbps, or of a quality from 0 to 10."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from nsc.errors import UserError
from nsc.kinds.spectral.level import OFFSET_STEP, ZERO_OFFSET

USUAL_FALL: Final = 0.85  # bits fall about as e^(-0.85 offset)
MOST_TRIALS: Final = 6  # encodings in search of a rate; three are usual
BEST_QUALITY: Final = 10.0


def offset_for_quality(quality: float, offsets: int) -> int:
    """Index, of so many offsets, for a quality from 0 (coarsest steps) to 10 (finest).

    Raises:
        UserError: another number.
    """
    if not 0 <= quality <= BEST_QUALITY:
        raise UserError(f"expected a quality from 0 to {BEST_QUALITY:g}, found {quality:g}; choose within")
    return round((1 - quality / BEST_QUALITY) * (offsets - 1))


def offset_for_rate(kbps: float, offsets: int, rate_at: Callable[[int], float]) -> int:
    """Index of the offset whose rate is nearest to `kbps` among those tried, from above where two are as near.

    Args:
        kbps: 1000 bits per second, the whole file counted.
        offsets: how many there are.
        rate_at: what a file takes at an offset index, by coding it.

    Raises:
        UserError: no rate.
    """
    if not 0 < kbps < math.inf:
        raise UserError(f"expected a rate above 0 kbps, found {kbps:g}; choose between about 6 and 32")
    rates: dict[int, float] = {}
    index = ZERO_OFFSET
    for _ in range(MOST_TRIALS):
        if index in rates:
            break
        rates[index] = rate_at(index)
        index = _next(index, offsets, rates, kbps)
    return min(rates, key=lambda tried: abs(math.log(rates[tried] / kbps)))


def _next(index: int, offsets: int, rates: dict[int, float], kbps: float) -> int:
    """The next offset to try: by the usual fall of rates, but strictly between those known to be above and below."""
    step = round(math.log(rates[index] / kbps) / USUAL_FALL / OFFSET_STEP)
    lowest = max([tried + 1 for tried, rate in rates.items() if rate > kbps], default=0)
    highest = min([tried - 1 for tried, rate in rates.items() if rate <= kbps], default=offsets - 1)
    return index if lowest > highest else min(max(index + step, lowest), highest)
