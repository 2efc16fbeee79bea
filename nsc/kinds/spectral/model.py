"""Spectral models that encode and decode: settings, symbol coder and network."""

from __future__ import annotations

from dataclasses import dataclass

from nsc.coding.interface import OWN_STEPS, Signal, Steps
from nsc.entropy.spectral_coder import SpectralCoder
from nsc.errors import UserError
from nsc.format import Header, WrongModelError, version_2, version_3
from nsc.format.version_2 import MOST_FRAMES
from nsc.kinds.spectral.analysis import SpectralAnalysis
from nsc.kinds.spectral.network import SpectralNetwork, SpectralSettings
from nsc.kinds.spectral.synthesis import SpectralSynthesis


@dataclass(frozen=True)
class SpectralModel:
    """Implements `interface.Model` for spectral cascades, in format versions 2 and 3.

    digest: first eight hex digits of the model's hash.
    coder: of the symbols of all codecs.
    """

    digest: str
    settings: SpectralSettings
    coder: SpectralCoder
    network: SpectralNetwork
    needs_whole_signal: bool = False

    @property
    def depth(self) -> int:
        """Number of codecs."""
        return self.settings.depth

    @property
    def offsets(self) -> int:
        """Of its coder; those of models from before 2026-11-27 know 81 of the format's 97."""
        return len(self.coder.offsets)

    def analysis(
        self,
        layers: int,
        *,
        spans: int | None,
        num_samples: int | None,
        whole: Signal | None,
        steps: Steps = OWN_STEPS,
    ) -> SpectralAnalysis:
        """See `interface.Model`; a span is a frame of 40 ms, by default 16 of them make a group."""
        spans = self.settings.group_frames if spans is None else spans
        if not 1 <= spans <= MOST_FRAMES:
            raise UserError(f"expected 1 to {MOST_FRAMES} frames in a group, found {spans}; choose among them")
        offset = self.settings.offset if steps.offset is None else steps.offset
        if not 0 <= offset < self.offsets:
            raise UserError(f"expected a step offset from 0 to {self.offsets - 1}, found {offset}; choose among them")
        header, most_bytes = self._header(num_samples, layers, spans), steps.most_bytes
        return SpectralAnalysis(header, self.settings, self.network, self.coder, offset=offset, most_bytes=most_bytes)

    def synthesis(self, header: Header, layers: int) -> SpectralSynthesis:
        """See `interface.Model`."""
        own = self.settings.hop, self.settings.spectra_per_frame
        if not isinstance(header, version_2.Header) or (header.hop, header.spectra_per_frame) != own:
            raise WrongModelError(f"expected the parts of model {header.model}, found others; encode the speech again")
        return SpectralSynthesis(header, self.settings, self.network, self.coder, layers)

    def _header(self, num_samples: int | None, layers: int, frames: int) -> version_2.Header:
        settings = self.settings
        of_version_2 = settings.spectra_per_frame == version_2.SPECTRA_PER_FRAME
        kind = version_2.Header if of_version_2 else version_3.Header
        look_ahead, spectra = settings.look_ahead > 0, settings.spectra_per_frame
        return kind(self.digest, num_samples, layers, frames, settings.hop, look_ahead, spectra)
