"""Times parts that take turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

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
        """Seconds of processor time of the most thrifty turn."""
        return min(self.processor)

    @property
    def unrest(self) -> float:
        """Median over best turn: how much the machine was at rest, 1 if wholly."""
        return float(np.median(self.wall)) / self.best

    def over(self, seconds: float) -> Timing:
        """The same turns as shares of `seconds`."""
        return Timing([each / seconds for each in self.wall], [each / seconds for each in self.processor])


def take_turns(parts: Mapping[str, Work], turns: int, described: str = "") -> dict[str, Timing]:
    """Times every part so many times, one after the other, after a first turn that only warms up."""
    timings = {name: Timing() for name in parts}
    for turn in tqdm(range(-1, turns), described, unit="turn", disable=None):
        for name, part in parts.items():
            wall, processor = time.perf_counter(), time.process_time()
            part()
            if turn >= 0:
                timings[name].wall.append(time.perf_counter() - wall)
                timings[name].processor.append(time.process_time() - processor)
    return timings
