"""A cascade that can code: settings, probability tables and a network, wherever that computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nsc.coding.interface import CodeLengths, PacketForm, Signal, Unit
from nsc.coding.rate import Pace
from nsc.constants import SAMPLE_RATE
from nsc.entropy.check import check_tables
from nsc.entropy.context_model import frame_code_lengths, read_models
from nsc.entropy.symbol_coding import SymbolCoder
from nsc.errors import UserError
from nsc.format import DamagedError, Header, WrongModelError, version_1, whole_file
from nsc.format.version_1 import GROUP_LENGTH, HOP, MOST_SPANS
from nsc.kinds.samples.analysis import CascadeAnalysis
from nsc.kinds.samples.level import group_levels
from nsc.kinds.samples.network import CascadeSettings, GraphNetwork, Network, Part, Symbols, graph_ports
from nsc.kinds.samples.synthesis import CascadeSynthesis
from nsc.loading.check import check_parts
from nsc.loading.folder import Description, naming, read_graph, read_tables
from nsc.loading.litert import Graphs


@dataclass(frozen=True)
class CascadeModel:
    """Implements `interface.Model` for cascades, in format version 1.

    digest: first eight hex digits of the model's hash.
    tables: probability tables of all parts, see `context_model.read_models`.
    """

    digest: str
    settings: CascadeSettings
    tables: Mapping[str, NDArray[np.int32]]
    network: Network

    @property
    def depth(self) -> int:
        return self.settings.depth

    @property
    def offsets(self) -> int:
        """None: it codes at one rate."""
        return 0

    @property
    def own_offset(self) -> int:
        return 0

    def usual_offset(self, kbps: float | None) -> int:
        return 0

    @property
    def unit(self) -> Unit:
        """16 frames, which share one gain."""
        return Unit("spans", GROUP_LENGTH / SAMPLE_RATE, MOST_SPANS)

    def group_seconds(self, spans: int | None) -> float:
        return self._checked_spans(spans) * self.unit.seconds

    @property
    def needs_whole_signal(self) -> bool:
        """Whether one gain holds for the whole utterance."""
        return self.settings.gain == "utterance"

    def analysis(
        self,
        layers: int,
        *,
        spans: int | None,
        num_samples: int | None,
        whole: Signal | None,
        pace: Pace | None = None,
        packets: PacketForm | None = None,
    ) -> CascadeAnalysis:
        """See `interface.Model`; a span is 16 frames, 0.48 s."""
        spans = self._checked_spans(spans)
        if pace is not None:
            raise UserError(f"expected a model for any rate, found {self.digest}, which has one; choose another model")
        if packets is not None:
            raise UserError(f"expected a model on the lapped spectrum for packets, found {self.digest}; choose another")
        if self.needs_whole_signal and whole is None:
            raise UserError(
                "this model takes its gain from the whole utterance; encode a file, or train with gain group"
            )
        gain_index = None if whole is None or not self.needs_whole_signal else int(group_levels(whole, "utterance")[0])
        header = version_1.Header(self.digest, num_samples, layers, self.settings.has_lpc, spans)
        return CascadeAnalysis(header, self.settings, self.network, self.symbol_coder(layers), gain_index)

    def synthesis(self, header: Header, layers: int) -> CascadeSynthesis:
        self._check_parts(header)
        return CascadeSynthesis(self.settings, self.network, self.symbol_coder(layers))

    def symbol_coder(self, layers: int) -> SymbolCoder:
        """The coder of the first `layers` codecs."""
        shapes = {part.name: part.shape for part in self.settings.parts_of(layers)}
        return SymbolCoder(read_models(self.tables), shapes)

    def code_lengths(self, data: bytes) -> CodeLengths:
        models = read_models(self.tables)
        return CodeLengths(frame_code_lengths(models, self.symbols(data)), HOP / SAMPLE_RATE)

    def symbols(self, data: bytes) -> dict[str, Symbols]:
        contents = whole_file(data, self.digest)
        header, found = contents.header, []
        self._check_parts(header)
        coder, left = self.symbol_coder(header.layers), header.frames_of(contents.num_samples or 0)
        for number, group in enumerate(contents.groups):
            try:
                found.append(coder.decode(group.parts, min(left, header.group_frames)))
            except ValueError as error:
                raise DamagedError(
                    f"expected the symbols of group {number}, found none ({error}); decode the file instead"
                ) from None
            left -= header.group_frames
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}

    def regrouped(self, data: bytes, spans: int | None, refresh: int | None) -> bytes:
        raise UserError(f"expected a file of a model on the lapped spectrum, found one of {self.digest}; code it again")

    def _check_parts(self, header: Header) -> None:
        if not isinstance(header, version_1.Header) or header.has_lpc != self.settings.has_lpc:
            raise WrongModelError(f"expected the parts of model {header.model}, found others; encode the speech again")

    def _checked_spans(self, spans: int | None) -> int:
        spans = 1 if spans is None else spans
        if not 1 <= spans <= MOST_SPANS:
            raise UserError(f"expected 1 to {MOST_SPANS} times 16 frames per group, found {spans}; choose among them")
        return spans


def load(description: Description, threads: int) -> CascadeModel:
    """The model of a folder.

    Raises:
        UserError: its description, tables or graphs are not what they should be.
    """
    settings = dict(description.settings)
    with naming(description.folder):
        check_parts(settings.get("parts"))
    parts = tuple(Part(each["name"], tuple(each["shape"]), each["alphabet"]) for each in settings.pop("parts"))
    known = CascadeSettings(parts, **settings)
    tables = read_tables(description)
    with naming(description.folder):
        if known.depth != description.depth:
            raise UserError(f"parts: expected {description.depth} codecs, found {known.depth}")
        check_tables(tables, {part.name: part.shape for part in parts}, {part.name: part.alphabet for part in parts})
        graphs = Graphs(partial(read_graph, description), threads)
        graphs.check(graph_ports(known), encodes=description.encodes)
    return CascadeModel(description.digest, known, tables, GraphNetwork(graphs, parts, known.depth))
