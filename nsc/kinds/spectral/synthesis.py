"""The decoder's half of a spectral cascade: symbols of a group and of the past to samples; concealment."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nsc.coding.filters import DeEmphasis
from nsc.coding.interface import Signal
from nsc.constants import SAMPLE_RATE
from nsc.entropy.packet_side import GroupSteps
from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols
from nsc.format import Group
from nsc.format.version_2 import GAIN_STEP_DB, Header
from nsc.kinds.samples.level import gains_of
from nsc.kinds.spectral.concealment import BACKGROUND_TO, Concealment, ConcealmentNetwork
from nsc.kinds.spectral.enhancer import Enhancer, EnhancerNetwork
from nsc.kinds.spectral.level import StepTrack, offset_of
from nsc.kinds.spectral.network import Floats, SpectralNetwork, SpectralSettings, frames_between, joined, silence
from nsc.kinds.spectral.noise import RANGE, noise
from nsc.kinds.spectral.symbol_stream import SymbolReader

# By which a repeated spectrum is softer than the one before. Networks see it as their past; it is heard where none
# conceals: random signs would sound worse.
FADE_DB = 1.5
PAUSE_SECONDS = 2.0  # of comfort noise without another packet, of which a pause has five: then the sender is lost


class Networks(NamedTuple):
    """What decodes the spectra of a model, and what enhances and conceals them where it has that."""

    decoder: SpectralNetwork
    enhancer: EnhancerNetwork | None
    concealment: ConcealmentNetwork | None


class SpectralSynthesis:
    """Implements `interface.Synthesis`; lost groups are concealed by a network, or by the last spectrum, fading."""

    def __init__(
        self, header: Header, settings: SpectralSettings, coder: SpectralCoder, layers: int, networks: Networks
    ) -> None:
        """Begins to decode the first `layers` layers of a stream."""
        self.lead = header.hop  # the first spectrum begins before the signal
        self._header, self._settings, (self._network, enhancer, concealment) = header, settings, networks
        self._reader, self._layers = SymbolReader(header, coder), layers
        self._history = settings.history  # frames of the past that the network is given with the next group
        self._steps = StepTrack(self._history, header.spectra_per_frame)
        self._last = GroupSteps(0, settings.offset)
        self._pause: SpectralSymbols | None = None  # that comfort noise is like
        # of which the last frame is what concealment repeats
        self._past = silence(self._history, layers, header.hop, header.spectra_per_frame)
        self._state = np.zeros(settings.decoder_state, np.float32)
        self._passed = 0  # frames
        self._paused = self._silent = 0  # of them since the last packet: comfort noise; lost, with all gains the lowest
        # of the latter, after which nothing changes: networks look no further back, and what was heard has faded
        self._settled = settings.history + -(-BACKGROUND_TO // header.frame_samples)
        self._de_emphasis = DeEmphasis() if settings.pre_emphasis else None
        self._enhancer = Enhancer(enhancer, settings.enhancer_state, layers) if enhancer else None
        self._concealment = Concealment(concealment, header.hop) if concealment else None

    def next_group(self, group: Group, frames: int) -> Signal | None:
        """The samples that a group completes; None if its bytes are corrupt, or it follows a packet that is missing."""
        try:
            coded = self._reader.read(group, self._layers, frames)
        except ValueError:
            return None
        self._pause, self._paused = (coded.symbols if coded.pauses else None), 0
        return self._synthesised(coded.symbols, coded.steps)

    @property
    def pauses(self) -> bool:
        """Whether the last packet said that nothing is sent for a while, which has not passed."""
        return self._pause is not None and self._paused * self._header.frame_samples < PAUSE_SECONDS * SAMPLE_RATE

    def restore(self, group: Group, frames: int) -> Signal | None:
        """The samples of the packet before one, from the copy that this one carries; None if it carries none."""
        try:
            coded = self._reader.read_copy(group, frames)
        except ValueError:
            return None
        return self._synthesised(coded.symbols, coded.steps)

    def conceal(self, frames: int) -> Signal:
        """The samples in place of frames that were lost, at the last level and offset; comfort noise in a pause.

        What outlasts fading costs no more than its zeros.
        """
        self._reader.missed()
        blocks = [np.zeros(0, np.float32)]
        while frames > 0:
            count = min(frames, self._header.frames)
            if self._pause and self.pauses:
                blocks.append(self._synthesised(self._comfort_noise(self._pause, count), self._last))
                self._paused += count
            elif self._silent >= self._settled:
                blocks.append(np.zeros(count * self._header.frame_samples, np.float32))
                self._passed += count
            else:
                blocks.append(self._synthesised(self._repeated(count), self._last, lost=True))
            frames -= count
        return np.concatenate(blocks)

    def _repeated(self, frames: int) -> SpectralSymbols:
        """The last spectrum over and over, each time softer."""
        kept, spectra = len(self._past.lsf), self._header.spectra_per_frame * frames
        last = frames_between(self._past, kept - 1, kept)
        fall = np.rint(FADE_DB / GAIN_STEP_DB * np.arange(1, spectra + 1)).astype(np.int32)
        gains = np.maximum(last.gains[-1] - fall, 0)
        codes = tuple(np.repeat(code[-1:], spectra, 0) for code in last.indices)
        return SpectralSymbols(np.repeat(last.lsf, frames, 0), gains, codes)

    def _comfort_noise(self, like: SpectralSymbols, frames: int) -> SpectralSymbols:
        """Codes of any of a pause's spectra with any sign, all as loud as these are on average."""
        made, rows = self._noise(self._passed, self._header.spectra_per_frame * frames), len(like.gains)
        row = np.minimum((np.abs(made) / RANGE * rows).astype(np.int32), rows - 1)
        sign, bins = np.where(made < 0, -1, 1).astype(np.int32), np.arange(made.shape[1])
        power = np.mean(10 ** (like.gains * GAIN_STEP_DB / 10))
        gain = np.int32(round(10 * np.log10(power) / GAIN_STEP_DB)) if like.gains.any() else np.int32(0)
        codes = tuple(each[row, bins] * sign for each in like.indices)
        return SpectralSymbols(np.repeat(like.lsf[-1:], frames, 0), np.full(len(made), gain), codes)

    def _noise(self, first: int, spectra: int) -> Floats:
        """For so many spectra, from the first of a frame of the stream on."""
        return noise(self._header.spectra_per_frame * first, spectra, self._header.hop)

    def _synthesised(self, symbols: SpectralSymbols, steps: GroupSteps, *, lost: bool = False) -> Signal:
        frames, kept, history = len(symbols.lsf), len(self._past.lsf), self._history
        whole = joined(self._past, symbols)
        header = self._header
        missing = silence(header.frames - frames, self._layers, header.hop, header.spectra_per_frame)
        padded = joined(frames_between(whole, kept - history, kept + frames), missing)
        first, overlap = self._passed, self._state[-header.hop :]
        made = self._noise(first - history, len(padded.gains)) if self._settings.noise_fill else None
        given = self._steps.with_group(steps, header.frames)
        samples, self._state = self._network.samples(padded, *given, made, self._state)
        self._passed += frames
        self._silent = self._silent + frames if lost and not symbols.gains.any() else 0
        self._past, self._last = frames_between(whole, frames, frames + kept), steps
        self._steps.append(steps, frames)
        if history and self._state.size:
            self._history, self._steps = 0, StepTrack(0, header.spectra_per_frame)
            self._past = frames_between(self._past, history - 1, history)
        size = self._header.frame_samples
        signal = samples[history * size : (history + frames) * size]
        level = float(gains_of(np.array(steps.level)))
        if self._concealment:
            if lost:
                made = self._noise(first, frames * header.spectra_per_frame)
                signal = self._overlapped(self._concealment(made, level), overlap)
            self._concealment.follow(signal, lost=lost)
        signal = self._de_emphasis(signal) if self._de_emphasis else signal
        return self._enhancer(signal, level, offset_of(steps.offset)) if self._enhancer else signal

    def _overlapped(self, samples: Floats, overlap: Floats) -> Signal:
        """Samples that no network made, after the last hop of those before; their own last hop stays in the state."""
        hop = self._header.hop
        self._state = np.concatenate([self._state[:-hop], samples[-hop:]])
        return np.concatenate([samples[:hop] + overlap, samples[hop:-hop]])
