"""What a packet says ahead of its frames: whether it stands alone, level and step offset (docs/bitstream.md)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsc.constants import TABLE_TOTAL
from nsc.entropy.range_coding import RangeDecoder, RangeEncoder, TableRows

LEVELS: Final = 64  # that a packet can have
# Kinds of packets, of which others are not known yet: those that begin or renew a pause stand alone, too.
FOLLOWS, ALONE, PAUSE = 0, 1, 2
KIND_COUNTS: Final = (44_000, 16_000, 4_000, 1_536)
# Counts of a difference of 0, of 1 and -1 each, and so on; all others share the rest.
DIFFERENCE_COUNTS: Final = (52_000, 3_500, 1_200, 500)


class GroupSteps(NamedTuple):
    """The side information of a group or packet: indices of its level and of its step offset."""

    level: int
    offset: int


def encode_side(
    coder: RangeEncoder, steps: GroupSteps, before: GroupSteps | None, offsets: int, *, pauses: bool = False
) -> None:
    """Writes the side information of a packet.

    Args:
        coder: of the packet's first message.
        steps: of the packet.
        before: of the packet before; None where the packet stands alone.
        offsets: how many the model has.
        pauses: a pause follows, in which nothing is sent.
    """
    for symbol, table in _coded_side(steps, before, offsets, PAUSE if pauses else ALONE):
        coder.encode(np.array([symbol], np.int32), table)


def decode_side(coder: RangeDecoder, before: GroupSteps | None, offsets: int) -> tuple[GroupSteps, int]:
    """The inverse of `encode_side`: steps and kind.

    Raises:
        ValueError: the packet is of an unknown kind, or follows one that is not there.
    """
    kind = int(coder.decode(_kind_table())[0])
    if kind > PAUSE:
        raise ValueError(f"expected a packet of a kind up to {PAUSE}, found {kind}")
    if kind != FOLLOWS:
        return GroupSteps(*(int(coder.decode(_even_table(values))[0]) for values in (LEVELS, offsets))), kind
    if before is None:
        raise ValueError("expected a packet that stands alone, found one that follows another")
    differences = [int(coder.decode(_difference_table(values))[0]) for values in (LEVELS, offsets)]
    return GroupSteps((before.level + differences[0]) % LEVELS, (before.offset + differences[1]) % offsets), kind


def side_bits(steps: GroupSteps, before: GroupSteps | None, offsets: int) -> float:
    """Ideal code length of the side information in bits."""
    coded = _coded_side(steps, before, offsets)
    return float(sum(np.log2(TABLE_TOTAL / table[0, symbol]) for symbol, table in coded))


def _coded_side(
    steps: GroupSteps, before: GroupSteps | None, offsets: int, alone: int = ALONE
) -> Iterator[tuple[int, TableRows]]:
    """Symbols and their tables."""
    yield FOLLOWS if before else alone, _kind_table()
    for place, values in enumerate((LEVELS, offsets)):
        if before is None:
            yield steps[place], _even_table(values)
        else:
            yield (steps[place] - before[place]) % values, _difference_table(values)


@lru_cache(maxsize=1)
def _kind_table() -> TableRows:
    return np.array([KIND_COUNTS], np.float64)


@lru_cache(maxsize=16)
def _even_table(values: int) -> TableRows:
    """All values alike; the first gets what does not divide."""
    return _table(np.full(values, TABLE_TOTAL // values))


@lru_cache(maxsize=16)
def _difference_table(values: int) -> TableRows:
    """Of differences modulo the number of values, small ones likely; the first gets what does not divide."""
    if values < 2 * len(DIFFERENCE_COUNTS):
        return _even_table(values)
    near = {sign * size % values: count for size, count in enumerate(DIFFERENCE_COUNTS) for sign in (1, -1)}
    rest = TABLE_TOTAL - sum(near.values())
    counts = np.full(values, rest // (values - len(near)))
    for place, count in near.items():
        counts[place] = count
    return _table(counts)


def _table(counts: NDArray[np.int64]) -> TableRows:
    counts[0] += TABLE_TOTAL - counts.sum()
    return counts[None].astype(np.float64)
