"""Spectral models as a fuzzer sees them: real tables and decoders, and a silent network that checks its symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from nsc.coding.interface import PacketForm
from nsc.entropy.coefficient_model import LARGEST_INDEX
from nsc.entropy.packet_side import GroupSteps
from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols
from nsc.format import Group, Packets, pack_group, pack_header, pack_parts
from nsc.format.version_2 import GAIN_LEVELS, LEVELS, LSF_ORDER, number_of_frames
from nsc.kinds.spectral.model import SpectralModel
from nsc.kinds.spectral.network import Floats, Quantised, SpectralSettings
from nsc.kinds.spectral.symbol_stream import CodedSymbols, SymbolWriter
from nsc.loading.folder import Description, load
from scripts.fuzzing.choice import Generator
from scripts.fuzzing.targets import KEPT_GROUPS, BrokenPromiseError

USUAL_INDEX = 1.0  # mean magnitude of the codes that are drawn


class SilentSpectra:
    """Implements `spectral.network.SpectralNetwork`: gives silence for symbols that belong to their alphabets."""

    def __init__(self, settings: SpectralSettings, lsf_levels: int) -> None:
        self._settings, self._lsf_levels = settings, lsf_levels

    def quantised(self, samples: Floats, levels: Floats, offsets: Floats, layers: int, state: Floats) -> Quantised:
        """See `SpectralNetwork`."""
        raise NotImplementedError

    def samples(
        self, symbols: SpectralSymbols, levels: Floats, offsets: Floats, noise: Floats | None, state: Floats
    ) -> tuple[Floats, Floats]:
        """See `SpectralNetwork`.

        Raises:
            BrokenPromiseError: symbols are not so many of their alphabets, or steps are not those of spectra.
        """
        hop, spectra = self._settings.hop, self._settings.spectra_per_frame * len(symbols.lsf)
        codes = all(each.shape == (spectra, hop) and abs(each).max() <= LARGEST_INDEX for each in symbols.indices)
        gains = symbols.gains.shape == (spectra,) and 0 <= symbols.gains.min() <= symbols.gains.max() < GAIN_LEVELS
        lsf = symbols.lsf.shape[1:] == (LSF_ORDER,) and 0 <= symbols.lsf.min() <= symbols.lsf.max() < self._lsf_levels
        steps = len(levels) == len(offsets) == spectra and np.isfinite([levels, offsets]).all()
        if not (codes and gains and lsf and steps):
            raise BrokenPromiseError("symbols of a group are not those of its spectra")
        return np.zeros((spectra + 1) * hop, np.float32), state


class RememberingSpectralCoder(SpectralCoder):
    """A coder that decodes the same bytes once."""

    @cached_property
    def _remembered(self):  # type: ignore[no-untyped-def]
        return lru_cache(KEPT_GROUPS)(super().decode)

    def decode(self, messages: Sequence[bytes], frames: int, offset: int) -> SpectralSymbols:
        """See `SpectralCoder.decode`."""
        found: SpectralSymbols = self._remembered(tuple(messages), frames, offset)
        return found


@dataclass(frozen=True)
class SpectralTarget(SpectralModel):
    """A model whose files are attacked."""

    def file(self, generator: Generator, frames: int, group: int = 4, *, known: bool = True) -> bytes:
        """A file of about `frames` frames of drawn symbols, in groups of some frames; some spectra are silent."""
        hop, spectra = self.settings.hop, self.settings.spectra_per_frame
        num_samples = (spectra * frames - 1) * hop
        header = self._header(num_samples if known else None, self.depth, group, None)
        groups: list[Group] = []
        for first in range(0, number_of_frames(num_samples, hop, spectra), group):
            count = min(group, frames - first)
            offset = int(generator.integers(self.offsets))
            symbols = self._drawn(generator, count)
            end = None if known or first + count < frames else num_samples
            side = (int(generator.integers(LEVELS)), offset)
            groups.append(Group(len(groups) % 256, side, tuple(self.coder.encode(symbols, offset)), end))
        return b"".join([pack_header(header), *map(pack_group, groups)])

    def packets(self, generator: Generator, count: int, refresh: int) -> Packets:
        """So many packets of a frame of drawn symbols each, every `refresh`-th of which stands alone."""
        writer, found = SymbolWriter(self.coder, refresh), []
        for _ in range(count):
            steps = GroupSteps(int(generator.integers(LEVELS)), int(generator.integers(self.offsets)))
            coded = CodedSymbols(self._drawn(generator, 1), steps, writer.before)
            found.append(pack_parts(writer.content(coded).parts))
            writer.sent(coded)
        return Packets(pack_header(self._header(None, self.depth, 1, PacketForm(refresh))), found)

    def _drawn(self, generator: Generator, frames: int) -> SpectralSymbols:
        spectra = self.settings.spectra_per_frame * frames
        gains = generator.integers(0, GAIN_LEVELS, spectra).astype(np.int32) * generator.integers(0, 2, spectra)
        drawn = generator.laplace(0, USUAL_INDEX, (self.depth, spectra, self.settings.hop)).round()
        codes = np.clip(drawn, -LARGEST_INDEX, LARGEST_INDEX).astype(np.int32) * (gains > 0)[:, None]
        lsf = generator.integers(0, len(self.coder.lsf.angles), (frames, LSF_ORDER)).astype(np.int32)
        return SpectralSymbols(lsf, gains.astype(np.int32), tuple(codes))


def spectral_target(description: Description) -> SpectralTarget:
    """A model that ships, with a silent network in place of its own."""
    model = load(description.folder)
    assert isinstance(model, SpectralModel)
    own = model.coder
    tables = own.lsf, own.cosines, own.gains, own.codecs, own.offsets
    coder = RememberingSpectralCoder(*tables, own.spectra_per_frame)
    return SpectralTarget(model.digest, model.settings, coder, SilentSpectra(model.settings, len(own.lsf.angles)))
