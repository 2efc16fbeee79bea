"""The encoder's half of a spectral cascade: pre-emphasis, levels, framing, symbols, bytes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nsc.coding.filters import InputFilter
from nsc.coding.interface import Content, Signal
from nsc.coding.rate import Pace
from nsc.constants import SAMPLE_RATE
from nsc.entropy.coefficient_model import LARGEST_INDEX
from nsc.entropy.packet_side import GroupSteps
from nsc.entropy.spectral_coder import SpectralCoder
from nsc.format import Group, sent_size
from nsc.format.version_2 import Header
from nsc.kinds.spectral.level import LevelMeter, StepTrack, decibels, level_index
from nsc.kinds.spectral.network import Floats, SpectralNetwork, SpectralSettings, frames_between
from nsc.kinds.spectral.symbol_stream import CodedSymbols, SymbolWriter

# The share of a group's codes that may reach the last bin: beyond, what is cut off outweighs what finer steps bring.
MOST_OVERFLOWS = 2e-4
QUIET_DB = 20.0  # below the level: such a group is a pause


class _Trial(NamedTuple):
    """A group coded at one step offset: what it carries, its bytes, and the network's state after it."""

    coded: CodedSymbols
    content: Content
    size: float
    state: Floats


class SpectralAnalysis:
    """Codes groups of frames. Networks see frames of earlier groups; what symbols' contexts see, the writer knows."""

    def __init__(
        self,
        header: Header,
        settings: SpectralSettings,
        network: SpectralNetwork,
        coder: SpectralCoder,
        pace: Pace,
        refresh: int | None = None,
    ) -> None:
        """Begins a stream.

        Args:
            header: of the stream.
            settings: of the model.
            network: of the model.
            coder: of the layers that are sent.
            pace: chooses the step offset of every group.
            refresh: see `SymbolWriter`.
        """
        self.header = header
        self.look_ahead = settings.look_ahead * header.frame_samples
        self._settings, self._network, self._coder, self._pace = settings, network, coder, pace
        self._filter = InputFilter(high_pass=False, pre_emphasis=settings.pre_emphasis)
        self._meter = LevelMeter(header.frame_samples)
        self._writer = SymbolWriter(coder, refresh)
        self._history = settings.history  # frames of the past that the network is given with the next group
        self._past = StepTrack(self._history, header.spectra_per_frame)
        self._samples = np.zeros(0, np.float32)  # from the start of the next group
        self._state = np.zeros(settings.encoder_state, np.float32)
        # from the first frame of the history on, whose first spectrum begins a hop before it
        self._filtered = np.zeros(settings.history * header.frame_samples + header.hop, np.float32)

    def append(self, samples: Signal) -> None:
        """Takes the next samples of the signal."""
        self._samples = np.concatenate([self._samples, samples])
        self._filtered = np.concatenate([self._filtered, self._filter(samples)])

    def end(self) -> None:
        """Lets the last frames see zeros after the signal, not the filter's response to zeros."""
        silence = (0, 2 * self.header.group_samples + self.look_ahead)
        self._samples, self._filtered = np.pad(self._samples, silence), np.pad(self._filtered, silence)

    def refresh(self) -> None:
        """Lets the next packet stand alone."""
        self._writer.refresh()

    def next_group(self, frames: int) -> Content:
        """Codes the next group, as often as the pace asks for."""
        level, quiet = self._next_level(frames)
        seconds = frames * self.header.frame_samples / SAMPLE_RATE
        tried: dict[int, _Trial] = {}
        sizes: dict[int, float] = {}
        offset: int | None = self._pace.first(seconds, quiet=quiet)
        while offset is not None:
            tried[offset] = self._tried(frames, GroupSteps(level, offset))
            sizes[offset] = tried[offset].size
            offset = self._pace.following(sizes)
        chosen = tried[self._pace.chosen(sizes)]
        self._writer.sent(chosen.coded)
        self._past.append(chosen.coded.steps, self.header.frames)
        self._samples = self._samples[self.header.group_samples :]
        self._filtered = self._filtered[self.header.group_samples :]
        self._state = chosen.state
        if self._history and self._state.size:
            self._filtered = self._filtered[self._history * self.header.frame_samples :]
            self._history = 0
            self._past = StepTrack(0, self.header.spectra_per_frame)
        return chosen.content

    def _tried(self, frames: int, steps: GroupSteps) -> _Trial:
        """A group at these steps; of infinite size where its codes overflow, so that its steps have to grow.

        Only the first codec's codes count, so that all depths have the same steps. The network is given whole groups,
        and so computes the same in all.
        """
        settings, header = self._settings, self.header
        seen = header.frames + settings.look_ahead
        samples = self._filtered[: (self._history + seen) * header.frame_samples + header.hop]
        found = self._network.quantised(samples, *self._past.with_group(steps, seen), header.layers, self._state)
        own = frames_between(found.symbols, self._history, self._history + frames)
        if not own.gains.any():  # the first symbol of every table takes no bytes
            own = own._replace(lsf=np.zeros_like(own.lsf))
        overflows = np.mean(np.abs(own.indices[0]) >= LARGEST_INDEX) > MOST_OVERFLOWS
        if settings.rdo_lambda:
            first = self._history * header.spectra_per_frame
            codes = found.codes[-1][first : first + len(own.gains)]
            nearest = CodedSymbols(own, steps, self._writer.before)
            own = self._coder.nearer_to_zero(own, codes, steps.offset, settings.rdo_lambda, nearest.context)
        coded = CodedSymbols(own, steps, self._writer.before)
        content = self._writer.content(coded)
        too_large = overflows and steps.offset < len(self._coder.offsets) - 1
        return _Trial(coded, content, math.inf if too_large else sent_size(header, Group(0, *content)), found.state)

    def _next_level(self, frames: int) -> tuple[int, bool]:
        """The group's level, and whether all of it is far below that."""
        size = self.header.frame_samples
        blocks = [self._samples[n * size : (n + 1) * size] for n in range(frames)]
        levels = [self._meter.frame(block) for block in blocks]
        loudest = max(decibels(block) for block in blocks)
        return level_index(levels), loudest < max(levels) - QUIET_DB
