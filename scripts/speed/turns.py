"""Timing of parts in alternating turns, so that other load on the machine affects all of them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

Work = Callable[[], object]


@dataclass
class Timing:
    """Seconds that the turns of one part took: on the clock, and of all processors together."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """Seconds of the best turn."""
        return min(self.wall)

    @property
    def best_processor(self) -> float:
        """Least seconds of processor time of a turn."""
        return min(self.processor)

    @property
    def unrest(self) -> float:
        """Median over best turn: 1 if the machine was idle."""
        return float(np.median(self.wall)) / self.best

    def over(self, seconds: float) -> Timing:
        """The same turns as shares of `seconds`."""
        return Timing([each / seconds for each in self.wall], [each / seconds for each in self.processor])


def take_turns(
    parts: Mapping[str, Work], turns: int, described: str = "", *, seconds: float = 0.0
) -> dict[str, Timing]:
    """Times parts one after the other, again and again, after they have warmed up.

    Args:
        parts: what is timed, by name.
        turns: how often each has its turn.
        described: text of the progress bar; without it there is none.
        seconds: a part that takes less is repeated within its turn, so that caches know it; its mean counts.
    """
    repeats = {name: _repeats(part, seconds) for name, part in parts.items()}
    timings = {name: Timing() for name in parts}
    for _ in tqdm(range(turns), described, unit="turn", disable=None if described else True):
        for name, part in parts.items():
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(repeats[name]):
                part()
            timings[name].wall.append((time.perf_counter() - wall) / repeats[name])
            timings[name].processor.append((time.process_time() - processor) / repeats[name])
    return timings


def _repeats(part: Work, seconds: float) -> int:
    part()
    start = time.perf_counter()
    part()
    return max(1, math.ceil(seconds / (time.perf_counter() - start)))
