"""The decoder's half of a cascade: symbols, frames, gains, overlap-add, concealment, de-emphasis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nsc.coding.filters import DeEmphasis
from nsc.coding.interface import Signal
from nsc.entropy.symbol_coding import SymbolCoder
from nsc.format import Group
from nsc.format.version_1 import FRAME_LENGTH, FRAMES_PER_GROUP, HOP, OVERLAP
from nsc.kinds.samples.level import frame_gains
from nsc.kinds.samples.network import CascadeSettings, Network, Symbols, network_frames

LONGEST_FRAMES = 48  # later ones are silent: by then the fade is below one 16-bit step of quiet speech


class CascadeSynthesis:
    """Decodes groups; lost ones are concealed by repeating the last frame that arrived."""

    lead = OVERLAP  # the first frame begins before the signal
    pauses = False

    def __init__(self, settings: CascadeSettings, network: Network, coder: SymbolCoder) -> None:
        self._network = network
        self._coder = coder
        self._concealment = Concealment(network)
        self._gain = 0
        self._overlap = OverlapAdd()
        self._de_emphasis = DeEmphasis() if settings.pre_emphasis else None

    def next_group(self, group: Group, frames: int) -> Signal | None:
        """The samples that a group completes; None if its bytes are corrupt."""
        try:
            symbols = self._coder.decode(group.parts, frames)
        except ValueError:
            return None
        self._concealment.arrived(symbols)
        self._gain = group.side[-(-frames // FRAMES_PER_GROUP) - 1]
        return self._synthesised(network_frames(self._network, symbols), np.array(group.side, np.uint8))

    def restore(self, group: Group, frames: int) -> None:
        """Its groups carry no copies."""

    def conceal(self, frames: int) -> Signal:
        """The samples in place of frames that were lost, at the last gain."""
        gains = np.full(-(-frames // FRAMES_PER_GROUP), self._gain, np.uint8)
        return self._synthesised(self._concealment.frames(frames), gains)

    def _synthesised(self, frames: NDArray[np.float32], gains: NDArray[np.uint8]) -> Signal:
        signal = self._overlap(frames * frame_gains(gains, len(frames))[:, None])
        return self._de_emphasis(signal) if self._de_emphasis else signal


class OverlapAdd:
    """Windowed frames at hop 480 to a signal that begins 32 samples early, in blocks."""

    def __init__(self) -> None:
        self._seam = np.zeros(OVERLAP, np.float32)
        self._begun = False

    def __call__(self, frames: NDArray[np.float32]) -> Signal:
        """Adds frames [n, 512]; gives the 480 n samples that no later frame will change."""
        added = frames[:, :HOP].copy()
        added[1:, :OVERLAP] += frames[:-1, HOP:]
        added[0, :OVERLAP] += self._seam
        if not self._begun:  # silence before the signal's start, or else the de-emphasis would remember it
            added[0, :OVERLAP] = 0
        self._seam, self._begun = frames[-1, HOP:], True
        return added.reshape(-1)


class Concealment:
    """Packet-loss concealment: repeats the last frame with widened formants and a fading residual."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._last: dict[str, Symbols] = {}
        self._lost = 0

    def arrived(self, symbols: Mapping[str, Symbols]) -> None:
        """Takes the symbols of a group that arrived, int32 [frames, positions, channels] by part."""
        self._last = {name: values[-1:] for name, values in symbols.items()}
        self._lost = 0

    def frames(self, count: int) -> NDArray[np.float32]:
        """The next `count` windowed frames [count, 512] of a gap, at unit level; silence where no frame has arrived."""
        kept = min(count, max(0, LONGEST_FRAMES - self._lost))
        lost = np.arange(self._lost + 1, self._lost + kept + 1, dtype=np.float32)
        self._lost += count
        frames = np.zeros((count, FRAME_LENGTH), np.float32)
        if self._last and kept:
            repeated = {name: np.repeat(values, kept, 0) for name, values in self._last.items()}
            frames[:kept] = network_frames(self._network, repeated, lost)
        return frames
