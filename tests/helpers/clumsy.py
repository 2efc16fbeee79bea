"""A codec that fails and work that meets a signal, on request; without TensorFlow, for which workers would wait."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comparison.coders import Version
from comparison.peers import baselines
from comparison.results import Codec

STOPS = [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)]  # and the status that each ends a command with


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


def after(calls: int, work: Callable[..., Any], name: str, error: type[Exception] | None = None) -> Callable[..., Any]:
    """`work` that meets a signal once it was called so often; native code may make another error of its exception."""
    left = calls

    def met(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        found = work(*arguments, **options)
        if left == 0:
            try:
                signal.raise_signal(signal.Signals[name])
            except KeyboardInterrupt:
                if error is None:
                    raise
                raise error("returned a result with an exception set") from None
        return found

    return met
