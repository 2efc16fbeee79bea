"""The encoder's half of a spectral cascade: pre-emphasis, levels, framing, symbols, bytes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from nsc.coding.filters import InputFilter
from nsc.coding.interface import Content, PacketForm, Signal
from nsc.coding.rate import Pace
from nsc.constants import SAMPLE_RATE
from nsc.entropy.coefficient_model import LARGEST_INDEX
from nsc.entropy.packet_side import GroupSteps
from nsc.entropy.spectral_coder import SpectralCoder
from nsc.format import Group, pack_parts, sent_size
from nsc.format.version_2 import Header
from nsc.kinds.spectral.level import LevelMeter, StepTrack, decibels, level_index
from nsc.kinds.spectral.network import Floats, SpectralNetwork, SpectralSettings, frames_between
from nsc.kinds.spectral.symbol_stream import CodedSymbols, SymbolWriter

# The share of a group's codes that may reach the last bin: beyond, what is cut off outweighs what finer steps bring.
MOST_OVERFLOWS = 2e-4
MIRRORED_SHARE = 0.3  # of the amplitude of a stream's first frame, see docs/spectral.md
QUIET_DB = 20.0  # below the level: such a group is a pause
HANGOVER = 0.32  # seconds of a pause that are sent as speech is
PAUSE_SECONDS = 0.4  # from one packet of a pause that is sent to the next


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
        packets: PacketForm | None = None,
    ) -> None:
        """Begins a stream.

        Args:
            header: of the stream.
            settings: of the model.
            network: of the model.
            coder: of the layers that are sent.
            pace: chooses the step offset of every group.
            packets: their form; None for groups.
        """
        self.header = header
        self.look_ahead = settings.look_ahead * header.frame_samples
        self._settings, self._network, self._coder, self._pace = settings, network, coder, pace
        self._filter = InputFilter(high_pass=False, pre_emphasis=settings.pre_emphasis)
        self._meter = LevelMeter(header.frame_samples)
        self._writer = SymbolWriter(coder, packets.refresh if packets else None)
        self._copies, self._pauses = (packets.redundancy, packets.pauses) if packets else (None, False)
        self._copy = b""  # of the packet before
        self._quiet = 0  # packets since speech
        self._speech = -math.inf  # its level in dB of full scale
        self._history = settings.history  # frames of the past that the network is given with the next group
        self._past = StepTrack(self._history, header.spectra_per_frame)
        self._samples = np.zeros(0, np.float32)  # from the start of the next group
        self._state = np.zeros(settings.encoder_state, np.float32)
        self._begun = False
        # from the first frame of the history on, whose first spectrum begins a hop before it
        self._filtered = np.zeros(settings.history * header.frame_samples + header.hop, np.float32)

    def append(self, samples: Signal) -> None:
        self._samples = np.concatenate([self._samples, samples])
        self._filtered = np.concatenate([self._filtered, self._filter(samples)])

    def end(self) -> None:
        """Lets the last frames see zeros after the signal, not the filter's response to zeros."""
        silence = (0, 2 * self.header.group_samples + self.look_ahead)
        self._samples, self._filtered = np.pad(self._samples, silence), np.pad(self._filtered, silence)

    def refresh(self) -> None:
        self._writer.refresh()

    def next_group(self, frames: int) -> Content:
        """Codes the next group, as often as the pace asks for."""
        if not self._begun:
            self._begin()
        loudest, highest = self._next_levels(frames)
        level, quiet = level_index([highest]), loudest < highest - QUIET_DB
        seconds = frames * self.header.frame_samples / SAMPLE_RATE
        self._speech = self._speech if self._quiet else highest  # which falls in a pause
        self._quiet = self._quiet + 1 if self._pauses and loudest < self._speech - QUIET_DB else 0
        paused, copy = self._quiet - round(HANGOVER / seconds), self._copy
        if self._quiet:  # one that follows may have no bytes, as one that is not sent
            self._writer.refresh()
        if paused > 0:
            chosen, self._copy = self._tried(frames, GroupSteps(level, self._settings.offset), pauses=True), b""
        else:
            chosen = self._paced(self._pace, frames, level, quiet)
            if self._copies:
                self._copy = pack_parts(self._paced(self._copies, frames, level, quiet, copies=True).content.parts)
        self._writer.sent(chosen.coded)
        self._go_on(chosen)
        if paused > 0 and (paused - 1) % round(PAUSE_SECONDS / seconds):
            return chosen.content._replace(parts=())
        return chosen.content._replace(parts=(copy, *chosen.content.parts)) if self._copies else chosen.content

    def _go_on(self, chosen: _Trial) -> None:
        self._past.append(chosen.coded.steps, self.header.frames)
        self._samples = self._samples[self.header.group_samples :]
        self._filtered = self._filtered[self.header.group_samples :]
        self._state = chosen.state
        if self._history and self._state.size:
            self._filtered = self._filtered[self._history * self.header.frame_samples :]
            self._history = 0
            self._past = StepTrack(0, self.header.spectra_per_frame)

    def _begin(self) -> None:
        """Lets the networks see the first frame mirrored, softer, ahead of it: after silence any sound is an event."""
        self._begun = True
        past = self._settings.history * self.header.frame_samples + self.header.hop
        first = self._filtered[past : past + self.header.frame_samples]
        self._filtered[:past] = MIRRORED_SHARE * np.pad(first, (past, 0), "reflect")[:past]

    def _paced(self, pace: Pace, frames: int, level: int, quiet: bool, *, copies: bool = False) -> _Trial:
        tried: dict[int, _Trial] = {}
        sizes: dict[int, float] = {}
        offset: int | None = pace.first(frames * self.header.frame_samples / SAMPLE_RATE, quiet=quiet)
        while offset is not None:
            tried[offset] = self._tried(frames, GroupSteps(level, offset), copies=copies)
            sizes[offset] = tried[offset].size
            offset = pace.following(sizes)
        return tried[pace.chosen(sizes)]

    def _tried(self, frames: int, steps: GroupSteps, *, copies: bool = False, pauses: bool = False) -> _Trial:
        """A group at these steps; of infinite size where its codes overflow, so that its steps have to grow.

        As a copy it has the first layer and stands alone; a pause follows if it `pauses`.

        Only the first codec's codes count, so that all depths have the same steps. The network is given whole groups,
        and so computes the same in all.
        """
        settings, header = self._settings, self.header
        before = None if copies else self._writer.before
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
            nearest = CodedSymbols(own, steps, before)
            own = self._coder.nearer_to_zero(own, codes, steps.offset, settings.rdo_lambda, nearest.context)
        if copies:
            own = own._replace(indices=own.indices[:1])
        coded = CodedSymbols(own, steps, before, pauses)
        content = self._writer.content(coded)
        too_large = overflows and steps.offset < len(self._coder.offsets) - 1
        size = sent_size(header, Group(0, *content)) + copies  # a copy has its length ahead of it
        return _Trial(coded, content, math.inf if too_large else size, found.state)

    def _next_levels(self, frames: int) -> tuple[float, float]:
        """The group's loudest frame and the highest of its frames' levels, dB of full scale."""
        size = self.header.frame_samples
        blocks = [self._samples[n * size : (n + 1) * size] for n in range(frames)]
        levels = [self._meter.frame(block) for block in blocks]
        return max(decibels(block) for block in blocks), max(levels)
