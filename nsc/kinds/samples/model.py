"""A cascade that can code: settings, probability tables and a network, wherever that computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsc.coding.interface import Signal, Steps
from nsc.entropy.context_model import read_models
from nsc.entropy.symbol_coding import SymbolCoder
from nsc.errors import UserError
from nsc.format import DamagedError, Header, WrongModelError, read_contents, version_1
from nsc.format.version_1 import MOST_SPANS
from nsc.kinds.samples.analysis import CascadeAnalysis
from nsc.kinds.samples.level import group_levels
from nsc.kinds.samples.network import CascadeSettings, Network, Symbols
from nsc.kinds.samples.synthesis import CascadeSynthesis


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
        """Number of codecs."""
        return self.settings.depth

    @property
    def offsets(self) -> int:
        """None: it codes at one rate."""
        return 0

    @property
    def needs_whole_signal(self) -> bool:
        """Whether one gain holds for the whole utterance."""
        return self.settings.gain == "utterance"

    def analysis(
        self, layers: int, *, spans: int | None, num_samples: int | None, whole: Signal | None, steps: Steps
    ) -> CascadeAnalysis:
        """See `interface.Model`; a span is 16 frames, 0.48 s."""
        spans = 1 if spans is None else spans
        if steps != Steps():
            raise UserError(f"expected a model for any rate, found {self.digest}, which has one; choose another model")
        if not 1 <= spans <= MOST_SPANS:
            raise UserError(f"expected 1 to {MOST_SPANS} times 16 frames per group, found {spans}; choose among them")
        if self.needs_whole_signal and whole is None:
            raise UserError(
                "this model takes its gain from the whole utterance; encode a file, or train with gain group"
            )
        gain_index = None if whole is None or not self.needs_whole_signal else int(group_levels(whole, "utterance")[0])
        header = version_1.Header(self.digest, num_samples, layers, self.settings.has_lpc, spans)
        return CascadeAnalysis(header, self.settings, self.network, self.symbol_coder(layers), gain_index)

    def synthesis(self, header: Header, layers: int) -> CascadeSynthesis:
        """See `interface.Model`."""
        if not isinstance(header, version_1.Header) or header.has_lpc != self.settings.has_lpc:
            raise WrongModelError(f"expected the parts of model {header.model}, found others; encode the speech again")
        return CascadeSynthesis(self.settings, self.network, self.symbol_coder(layers))

    def symbol_coder(self, layers: int) -> SymbolCoder:
        """The coder of the first `layers` codecs."""
        shapes = {part.name: part.shape for part in self.settings.parts_of(layers)}
        return SymbolCoder(read_models(self.tables), shapes)


def file_symbols(data: bytes, model: CascadeModel) -> dict[str, Symbols]:
    """The symbols int32 [frames, positions, channels] of every part of an undamaged file of known length.

    Raises:
        BitstreamError: the header cannot be read, or groups are missing or damaged.
    """
    header, groups, missing, damaged = read_contents(data)
    if missing or damaged or header.num_samples is None or not groups:
        raise DamagedError(
            f"expected a whole file of known length, found {len(groups)} groups, {missing} missing and {damaged} bytes"
            " damaged; decode it instead"
        )
    coder, left, found = model.symbol_coder(header.layers), header.frames_of(header.num_samples), []
    for number, group in enumerate(groups):
        try:
            found.append(coder.decode(group.parts, min(left, header.group_frames)))
        except ValueError as error:
            raise DamagedError(
                f"expected the symbols of group {number}, found none ({error}); decode the file instead"
            ) from None
        left -= header.group_frames
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}
