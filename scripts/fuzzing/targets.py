"""What is attacked: models that ship as a fuzzer sees them, with real tables and decoders and a silent network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from nsc.coding.interface import Model, PacketForm
from nsc.entropy.coefficient_model import LARGEST_INDEX
from nsc.entropy.context_model import CodePhase, ContextModel, Integers, Phase, Symbols, code_groups
from nsc.entropy.packet_side import GroupSteps
from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols
from nsc.entropy.symbol_coding import SymbolCoder
from nsc.format import Group, Packets, pack_group, pack_header, pack_parts
from nsc.format.version_1 import FRAME_LENGTH, FRAMES_PER_GROUP, HOP, OVERLAP, Header
from nsc.format.version_2 import GAIN_LEVELS, LEVELS, LSF_ORDER, number_of_frames
from nsc.kinds.samples.model import CascadeModel
from nsc.kinds.samples.network import Part
from nsc.kinds.spectral.model import SpectralModel
from nsc.kinds.spectral.network import Floats, Quantised, SpectralSettings
from nsc.kinds.spectral.symbol_stream import CodedSymbols, SymbolWriter
from nsc.loading.find import all_models
from nsc.loading.folder import load
from scripts.fuzzing.choice import Generator

KEPT_GROUPS = 4096  # decoded ones: most groups of a mutated file are those of the original
USUAL_INDEX = 1.0  # mean magnitude of the codes that are drawn


class BrokenPromiseError(AssertionError):
    """A promise that was not kept."""


class SilentNetwork:
    """Implements `Network`: gives silence for symbols that belong to their alphabets."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def symbols(self, contexts: NDArray[np.float32], layers: int) -> Sequence[Symbols]:
        raise NotImplementedError

    def frames(self, symbols: Sequence[Symbols], lost: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Network`.

        Raises:
            BrokenPromiseError: symbols are not so many of their alphabets.
        """
        for part, values in zip(self._parts, symbols, strict=False):
            if values.shape[1:] != part.shape or len(values) != len(lost):
                raise BrokenPromiseError(f"{part.name} has shape {values.shape}")
            if not 0 <= values.min() <= values.max() < part.alphabet:
                raise BrokenPromiseError(f"{part.name} has symbols from {values.min()} to {values.max()}")
        return np.zeros((len(lost), FRAME_LENGTH), np.float32)


class RememberingCoder(SymbolCoder):
    """A coder that decodes the same bytes once."""

    @cached_property
    def _remembered(self):  # type: ignore[no-untyped-def]
        return lru_cache(KEPT_GROUPS)(super().decode)

    def decode(self, payloads: Sequence[bytes], num_frames: int) -> dict[str, Symbols]:
        return dict(self._remembered(tuple(payloads), num_frames))


class SampleTarget(CascadeModel):
    """A model whose files are attacked."""

    def symbol_coder(self, layers: int) -> SymbolCoder:
        """See `CascadeModel`; one for all streams."""
        return self._coders[layers - 1]

    @cached_property
    def _coders(self) -> list[SymbolCoder]:
        coders = (super(SampleTarget, self).symbol_coder(layers) for layers in range(1, self.depth + 1))
        return [RememberingCoder(coder.models, coder.shapes) for coder in coders]

    def file(self, generator: np.random.Generator, frames: int, spans: int = 1, *, known: bool = True) -> bytes:
        """A file of `frames` frames of symbols drawn by the model's own probabilities."""
        num_samples = frames * HOP - OVERLAP
        header = Header(self.digest, num_samples if known else None, self.depth, self.settings.has_lpc, spans)
        coder = self.symbol_coder(self.depth)
        groups: list[Group] = []
        left = frames
        while left > 0:
            count = min(left, header.group_frames)
            left -= count
            used = -(-count // FRAMES_PER_GROUP)
            gains = [int(each) for each in generator.integers(0, 64, used)] + [0] * (spans - used)
            end = None if known or left > 0 else num_samples
            parts = tuple(coder.encode(_drawn(coder, generator, count)))
            groups.append(Group(len(groups) % 256, tuple(gains), parts, end))
        return b"".join([pack_header(header), *map(pack_group, groups)])


def _drawn(coder: SymbolCoder, generator: np.random.Generator, frames: int) -> dict[str, Symbols]:
    """Symbols of a group, int32 [frames, positions, channels] by part."""
    found, before = {}, None
    for name, model in coder.models.items():
        rows = frames * prod(coder.shapes[name]) // model.columns
        matrix = np.zeros((1, rows, model.columns), np.int32)
        before = code_groups(model, 1, rows, before, _drawing(model, matrix, generator))
        found[name] = matrix.reshape(frames, *coder.shapes[name])
    return found


def _drawing(model: ContextModel, matrix: Symbols, generator: np.random.Generator) -> CodePhase:
    def code(phase: Phase, contexts: Integers) -> Symbols:
        borders = model.tables[phase.number][contexts].cumsum(-1)
        drawn = generator.integers(0, borders[..., -1:])
        symbols = (borders <= drawn).sum(-1).astype(np.int32)
        matrix[:, phase.rows, phase.column] = symbols
        return symbols

    return code


class SilentSpectra:
    """Implements `SpectralNetwork`: gives silence for symbols that belong to their alphabets."""

    def __init__(self, settings: SpectralSettings, lsf_levels: int) -> None:
        self._settings, self._lsf_levels = settings, lsf_levels

    def quantised(self, samples: Floats, levels: Floats, offsets: Floats, layers: int, state: Floats) -> Quantised:
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


Target = SampleTarget | SpectralTarget


def _target(model: Model) -> Target:
    """A model with a silent network in place of its own."""
    if isinstance(model, CascadeModel):
        return SampleTarget(model.digest, model.settings, model.tables, SilentNetwork(model.settings.parts))
    assert isinstance(model, SpectralModel)
    own = model.coder
    tables = own.lsf, own.cosines, own.gains, own.codecs, own.offsets
    coder = RememberingSpectralCoder(*tables, own.spectra_per_frame)
    return SpectralTarget(model.digest, model.settings, coder, SilentSpectra(model.settings, len(own.lsf.angles)))


def shipped_targets() -> list[Target]:
    """All models that ship."""
    return [_target(load(each.folder)) for each in all_models()]


def files_of(targets: Sequence[Target], generator: Generator) -> list[bytes]:
    """A few short files of every model: of known and unknown length, of one frame, with long groups."""
    found = []
    for target in targets:
        found += [target.file(generator, 17), target.file(generator, 40, known=False)]
        found += [target.file(generator, 1), target.file(generator, 50, 2)]
    return found
