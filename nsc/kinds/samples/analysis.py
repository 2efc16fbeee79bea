"""The encoder's half of a cascade: gains, contexts, symbols, bytes of each group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nsc.coding.filters import InputFilter
from nsc.coding.interface import Content, Signal
from nsc.entropy.symbol_coding import SymbolCoder
from nsc.format.version_1 import (
    FRAMES_PER_GROUP,
    GROUP_LENGTH,
    HOP,
    LPC_CONTEXT,
    LPC_WINDOW_LENGTH,
    OVERLAP,
    Header,
)
from nsc.kinds.samples.level import frame_gains, group_level, level_indices
from nsc.kinds.samples.network import CascadeSettings, Network, network_symbols

PAST = OVERLAP + LPC_CONTEXT  # samples that a frame's context reaches back before the frame's new ones


class CascadeAnalysis:
    """Codes groups of 16 frames per span, none of which depends on another but through the fall of the gain."""

    look_ahead = LPC_CONTEXT  # samples that the context of a group's last frame reaches beyond the group

    def __init__(
        self, header: Header, settings: CascadeSettings, network: Network, coder: SymbolCoder, gain_index: int | None
    ) -> None:
        """Begins a stream; `gain_index` is that of all groups where one gain holds for the utterance."""
        self.header = header
        self._parts = settings.parts_of(header.layers)
        self._network = network
        self._coder = coder
        self._gain_index = gain_index
        self._filter = InputFilter(high_pass=settings.high_pass, pre_emphasis=settings.pre_emphasis)
        self._samples = np.zeros(0, np.float32)  # from the start of the group
        self._filtered = np.zeros(PAST, np.float32)  # from PAST before it
        self._level = -np.inf

    def append(self, samples: Signal) -> None:
        self._samples = np.concatenate([self._samples, samples])
        self._filtered = np.concatenate([self._filtered, self._filter(samples)])

    def end(self) -> None:
        """Lets the last frames see zeros after the signal, not the filters' response to zeros."""
        self._filtered = np.pad(self._filtered, (0, 2 * self.header.group_samples))

    def refresh(self) -> None:
        pass  # every group stands alone

    def next_group(self, frames: int) -> Content:
        """Codes the next group."""
        gains = self._next_gains(frames)
        contexts = np.lib.stride_tricks.sliding_window_view(self._filtered, LPC_WINDOW_LENGTH)[::HOP][:frames]
        symbols = network_symbols(self._network, contexts / frame_gains(gains, frames)[:, None], self._parts)
        self._samples = self._samples[self.header.group_samples :]
        self._filtered = self._filtered[self.header.group_samples :]
        side = (*gains.tolist(), *[0] * (self.header.spans - len(gains)))
        return Content(side, tuple(self._coder.encode(symbols)))

    def _next_gains(self, frames: int) -> NDArray[np.uint8]:
        spans = -(-frames // FRAMES_PER_GROUP)
        if self._gain_index is not None:
            return np.full(spans, self._gain_index, np.uint8)
        levels = np.empty(spans)
        for span in range(spans):
            samples = self._samples[span * GROUP_LENGTH : (span + 1) * GROUP_LENGTH]
            levels[span] = self._level = group_level(samples, self._level)
        return level_indices(levels)
