"""Spectral models that encode and decode: settings, symbol coder and network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nsc.coding.interface import CodeLengths, PacketForm, Signal, Unit
from nsc.coding.rate import USUAL_BEND, USUAL_FALL, EvenPace, Pace
from nsc.entropy.coefficient_model import LARGEST_INDEX
from nsc.entropy.spectral_coder import SpectralCoder, SpectralSymbols
from nsc.errors import UserError
from nsc.format import (
    DamagedError,
    Header,
    WrongModelError,
    unpack_header,
    version_2,
    version_3,
    version_4,
    whole_file,
)
from nsc.format.version_2 import CODEC_PART, MOST_FRAMES
from nsc.kinds.spectral.analysis import SpectralAnalysis
from nsc.kinds.spectral.concealment import ConcealmentNetwork, GraphConcealment
from nsc.kinds.spectral.enhancer import EnhancerNetwork, GraphEnhancer
from nsc.kinds.spectral.network import (
    GraphNetwork,
    SpectralNetwork,
    SpectralSettings,
    check_coder,
    check_settings,
    graph_ports,
)
from nsc.kinds.spectral.regroup import regrouped
from nsc.kinds.spectral.symbol_stream import CodedSymbols, SymbolReader
from nsc.kinds.spectral.synthesis import Networks, SpectralSynthesis
from nsc.loading.folder import Description, naming, read_graph, read_tables
from nsc.loading.litert import Graphs

LPC_PART, GAIN_PART = "lpc", "gain"


@dataclass(frozen=True)
class SpectralModel:
    """Implements `interface.Model` for spectral cascades, in format versions 2 to 4.

    digest: first eight hex digits of the model's hash.
    coder: of the symbols of all codecs.
    enhancer: of decoded speech; None where the model has none.
    concealment: of lost speech; None where the last spectrum is repeated.
    own_kbps: of speech on average at its own offset, where that was measured.
    """

    digest: str
    settings: SpectralSettings
    coder: SpectralCoder
    network: SpectralNetwork
    enhancer: EnhancerNetwork | None = None
    concealment: ConcealmentNetwork | None = None
    own_kbps: float | None = None
    needs_whole_signal: bool = False

    @property
    def depth(self) -> int:
        return self.settings.depth

    @property
    def unit(self) -> Unit:
        """A frame."""
        return Unit("frames_per_group", self.settings.frame_seconds, MOST_FRAMES)

    def group_seconds(self, spans: int | None) -> float:
        return self._checked_frames(spans) * self.unit.seconds

    @property
    def offsets(self) -> int:
        """Of its coder; those of models from before 2026-11-27 know 81 of the format's 97."""
        return len(self.coder.offsets)

    @property
    def own_offset(self) -> int:
        return self.settings.offset

    def usual_offset(self, kbps: float | None) -> int:
        less = math.log(self.own_kbps / kbps) if self.own_kbps and kbps else 0.0
        coarser = less / USUAL_FALL * (1 - USUAL_BEND * less)
        return min(max(round(self.own_offset + coarser), 0), self.offsets - 1)

    def analysis(
        self,
        layers: int,
        *,
        spans: int | None,
        num_samples: int | None,
        whole: Signal | None,
        pace: Pace | None = None,
        packets: PacketForm | None = None,
    ) -> SpectralAnalysis:
        """See `interface.Model`; a span is a frame of 40 ms, by default 16 of them make a group."""
        spans = self._checked_frames(1 if spans is None and packets else spans)
        header = self._header(num_samples, layers, spans, packets)
        pace = EvenPace(self.own_offset, self.offsets) if pace is None else pace
        return SpectralAnalysis(header, self.settings, self.network, self.coder, pace, packets)

    def synthesis(self, header: Header, layers: int) -> SpectralSynthesis:
        own = self.settings.hop, self.settings.spectra_per_frame
        if not isinstance(header, version_2.Header) or (header.hop, header.spectra_per_frame) != own:
            raise WrongModelError(f"expected the parts of model {header.model}, found others; encode the speech again")
        networks = Networks(self.network, self.enhancer, self.concealment)
        return SpectralSynthesis(header, self.settings, self.coder, layers, networks)

    def code_lengths(self, data: bytes) -> CodeLengths:
        pieces: dict[str, list[NDArray[np.float64]]] = {}
        is_packet = isinstance(unpack_header(data), version_4.Header)
        for coded in file_groups(data, self.coder, self.digest):
            symbols = coded.symbols
            one = SpectralSymbols(symbols.lsf[None], symbols.gains[None], tuple(each[None] for each in symbols.indices))
            lengths = self.coder.code_lengths(one, np.array([coded.steps.offset]), coded.context)
            gains = lengths.gains[0]
            if is_packet:
                gains[0] += coded.side_bits(self.coder)
            for name, bits in zip(_names(symbols), (lengths.lsf, gains, *lengths.indices), strict=True):
                pieces.setdefault(name, []).append(bits.reshape(len(symbols.lsf), -1).sum(1))
        return CodeLengths({name: np.concatenate(bits) for name, bits in pieces.items()}, self.settings.frame_seconds)

    def symbols(self, data: bytes) -> dict[str, NDArray[np.int32]]:
        """See `interface.Model`; indices are counted from the lowest, -63."""
        pieces: dict[str, list[NDArray[np.int32]]] = {}
        for symbols, *_ in file_groups(data, self.coder, self.digest):
            frames, spectra = len(symbols.lsf), symbols.spectra_per_frame
            shifted = (each.reshape(frames, spectra, -1) + LARGEST_INDEX for each in symbols.indices)
            values = (symbols.lsf[:, None], symbols.gains.reshape(frames, spectra, 1), *shifted)
            for name, each in zip(_names(symbols), values, strict=True):
                pieces.setdefault(name, []).append(each)
        return {name: np.concatenate(each) for name, each in pieces.items()}

    def regrouped(self, data: bytes, spans: int | None, refresh: int | None) -> bytes:
        groups = list(file_groups(data, self.coder, self.digest))
        old, num_samples = unpack_header(data), whole_file(data).num_samples or 0
        spans = self._checked_frames(1 if spans is None and refresh else spans)
        header = self._header(num_samples, old.layers, spans, PacketForm(refresh) if refresh else None)
        return b"".join(regrouped(groups, header, num_samples, self.coder, refresh))

    def _checked_frames(self, frames: int | None) -> int:
        frames = self.settings.group_frames if frames is None else frames
        if not 1 <= frames <= MOST_FRAMES:
            raise UserError(f"expected 1 to {MOST_FRAMES} frames in a group, found {frames}; choose among them")
        return frames

    def _header(
        self, num_samples: int | None, layers: int, frames: int, packets: PacketForm | None
    ) -> version_2.Header:
        settings = self.settings
        of_version_2 = settings.spectra_per_frame == version_2.SPECTRA_PER_FRAME
        kind = version_4.Header if packets else version_2.Header if of_version_2 else version_3.Header
        look_ahead, spectra = settings.look_ahead > 0, settings.spectra_per_frame
        redundant = packets is not None and packets.redundancy is not None
        return kind(self.digest, num_samples, layers, frames, settings.hop, look_ahead, spectra, redundant)


def file_groups(data: bytes, coder: SpectralCoder, model: str | None = None) -> Iterator[CodedSymbols]:
    """The groups of an undamaged file of known length, of this model where one is given.

    Raises:
        BitstreamError: the header cannot be read or names another model, or groups are missing or damaged.
    """
    contents = whole_file(data, model)
    header = contents.header
    if not isinstance(header, version_2.Header):
        raise WrongModelError(f"expected the parts of model {header.model}, found others; encode the speech again")
    reader, left = SymbolReader(header, coder), header.frames_of(contents.num_samples or 0)
    for number, group in enumerate(contents.groups):
        frames = min(left, header.group_frames)
        try:
            coded = reader.read(group, header.layers, frames)
        except ValueError as error:
            raise DamagedError(
                f"expected the symbols of group {number}, found none ({error}); decode the file instead"
            ) from None
        yield coded
        left -= frames


def load(description: Description, threads: int) -> SpectralModel:
    """The model of a folder.

    Raises:
        UserError: its description, tables or graphs are not what they should be.
    """
    settings = SpectralSettings(**description.settings)
    with naming(description.folder):
        check_settings(settings)
        if settings.depth != description.depth:
            raise UserError(f"depth: expected {description.depth} codecs, found {settings.depth}")
        coder = SpectralCoder.read(read_tables(description))
        check_coder(settings, coder)
        graphs = Graphs(partial(read_graph, description), threads)
        graphs.check(graph_ports(settings), encodes=description.encodes)
    enhancer = GraphEnhancer(graphs) if settings.enhancer_state else None
    concealment = GraphConcealment(graphs) if settings.conceals else None
    network = GraphNetwork(graphs, settings)
    return SpectralModel(description.digest, settings, coder, network, enhancer, concealment, description.kbps)


def _names(symbols: SpectralSymbols) -> list[str]:
    return [LPC_PART, GAIN_PART, *(f"{CODEC_PART} {number}" for number in range(1, len(symbols.indices) + 1))]
