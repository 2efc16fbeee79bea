"""Frames in the place of those that were lost: LSFs held and widened, the residual faded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cmrl import Cascade
from constants import FRAME_LENGTH, LPC_ORDER

FADE = 0.85  # of the residual from frame to frame; a group later it is 22 dB down
WIDENING = 0.98  # radius of all poles from frame to frame: resonances broaden as they are held
LONGEST_FRAMES = 48  # later ones are silent: by then the fade is below one 16-bit step of quiet speech


class Concealment:
    """Remembers the last frame that arrived and carries it on."""

    def __init__(self, cascade: Cascade) -> None:
        self._cascade = cascade
        self._last: list[NDArray[np.int32]] | None = None
        self._lost = 0

    def arrived(self, symbols: Mapping[str, NDArray[np.int32]]) -> None:
        """Takes the symbols of a group that arrived, int32 [frames, positions, channels] by part."""
        self._last = [values[-1:] for values in symbols.values()]
        self._lost = 0

    def frames(self, count: int) -> NDArray[np.float32]:
        """The next `count` windowed frames [count, 512] of a gap, at unit level; silence where nothing went before."""
        kept = min(count, max(0, LONGEST_FRAMES - self._lost))
        steps = np.arange(self._lost + 1, self._lost + kept + 1, dtype=np.float32)[:, None]
        self._lost += count
        frames = np.zeros((count, FRAME_LENGTH), np.float32)
        if self._last and kept:
            frames[:kept] = self._continued(self._last, steps)
        return frames

    def _continued(self, last: list[NDArray[np.int32]], steps: NDArray[np.float32]) -> NDArray[np.float32]:
        """The last frame's residual and polynomial so many frames later."""
        front_end, codes = self._cascade.front_end, list(last)
        polynomial = None
        if not self._cascade.config.time_domain:
            widening = WIDENING ** (steps * np.arange(LPC_ORDER + 1, dtype=np.float32))
            polynomial = front_end.decode(codes.pop(0)) * widening
        layers = [codec.decode(code, polynomial) for codec, code in zip(self._cascade.codecs, codes, strict=False)]
        return np.asarray(front_end.window * front_end.synthesise(tf.add_n(layers) * FADE**steps, polynomial))
