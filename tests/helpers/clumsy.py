"""A codec that fails on request; in a module without TensorFlow, for which worker processes would wait."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from comparison.coders import Version
from comparison.peers import baselines
from comparison.results import Codec


@dataclass(frozen=True)
class Clumsy:
    """Raises on every file, shortens it, or ends the process on a file of one length."""

    fault: str = ""
    fatal_length: int = 0
    losses: tuple[float, ...] = (0.0,)

    @property
    def codec(self) -> Codec:
        return Codec("clumsy", "clumsy", "clumsy", "peer")

    def code(self, samples: NDArray[np.int16], cache_dir: Path) -> list[Version]:
        if len(samples) == self.fatal_length:
            os._exit(11)
        if self.fault == "raises":
            raise baselines.PeerError("clumsy: ffmpeg failed with status 3")
        path = cache_dir / f"{len(samples)}.flac"
        baselines.write_flac(path, samples[:-7] if self.fault == "shortens" else samples)
        return [Version(0, 0.0, 1000, 0, path)]
